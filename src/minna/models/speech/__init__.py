"""Encoders of speech (HuBERT, wav2vec 2.0, data2vec) and recognisers made of them."""
