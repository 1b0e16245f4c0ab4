# make only wraps `minna` and the usual tools. The first target that needs it makes .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MINNA := $(BIN)/minna
OUT ?= build/quickstart

.PHONY: help demo instruct experiments-ppo experiments-instruct experiments-clip experiments-speech test test-full faults lint format bench-train bench-memory bench-parallel bench-attention bench-generate bench-corpus bench-cleaning bench-planted bench-tokenizer bench-evaluate bench-sft bench-ppo bench-clip bench-contrastive bench-beam bench-labels bench-speech clean

help:  ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "installing minna into $(VENV) (timed; later runs skip this)"
	@start=$$(date +%s); \
	$(PYTHON) -m venv $(VENV) && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    -c constraints.txt -e . && \
	echo "installed in $$(($$(date +%s) - start)) s"
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@start=$$(date +%s); \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    -c constraints.txt -e '.[dev]' && \
	echo "test tools installed in $$(($$(date +%s) - start)) s"
	@touch $@

demo: $(VENV)/.installed  ## from raw Japanese text to a released GPT (about ten minutes on two cores)
	$(MINNA) quickstart --until pretrain --out $(OUT)

instruct: $(VENV)/.installed  ## demo, and on to a model that answers: SFT, reward model, PPO (about twenty minutes in all)
	$(MINNA) quickstart --out $(OUT)

test: $(VENV)/.installed-dev  ## the tests, with coverage
	$(BIN)/coverage erase
	$(BIN)/python -m pytest -n 2 --dist loadgroup -rs --cov=src/minna --cov-report=term:skip-covered --cov-fail-under=85

test-full: $(VENV)/.installed-dev  ## the tests and the long ones
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "full or not full" --hypothesis-profile=default

faults: $(VENV)/.installed-dev  ## only what kills, cuts, fills and corrupts
	$(BIN)/python -m pytest -m "full or not full" tests/faults tests/train/test_faults.py tests/artifact tests/corpus

lint: $(VENV)/.installed-dev  ## ruff, basedpyright, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench-train: $(VENV)/.installed  ## training speed and memory beside transformers Trainer
	$(PYTHON) -m venv $(VENV)-bench-train
	$(VENV)-bench-train/bin/python -m pip install --quiet -c constraints.txt -r bench/env/train.txt
	$(BIN)/python bench/bench_train.py --peer-python $(VENV)-bench-train/bin/python

bench-memory: $(VENV)/.installed  ## peak memory of a step, way by way, beside `minna plan` and transformers Trainer
	$(PYTHON) -m venv $(VENV)-bench-train
	$(VENV)-bench-train/bin/python -m pip install --quiet -c constraints.txt -r bench/env/train.txt
	$(BIN)/python bench/bench_memory.py --peer-python $(VENV)-bench-train/bin/python

bench-parallel: $(VENV)/.installed  ## 1, 2 and 4 ranks: losses, bytes sent beside theory, overhead of a step
	$(BIN)/python bench/bench_parallel.py

bench-attention: $(VENV)/.installed  ## our attention beside torch's, forward and backward, shape by shape
	$(BIN)/python bench/bench_attention.py

bench-generate: $(VENV)/.installed  ## generation speed and memory beside transformers generate
	$(PYTHON) -m venv $(VENV)-bench-generate
	$(VENV)-bench-generate/bin/python -m pip install --quiet -c constraints.txt -r bench/env/generate.txt
	$(BIN)/python bench/bench_generate.py --peer-python $(VENV)-bench-generate/bin/python

bench-corpus: $(VENV)/.installed  ## cleaning speed and memory beside datatrove
	$(PYTHON) -m venv $(VENV)-bench-corpus
	$(VENV)-bench-corpus/bin/python -m pip install --quiet -r bench/env/corpus.txt
	$(BIN)/python bench/bench_corpus.py --peer-python $(VENV)-bench-corpus/bin/python

bench-cleaning: $(VENV)/.installed  ## what filters, masks and scores do to Tatoeba and Aozora, and how fast
	$(BIN)/python bench/bench_cleaning.py

bench-planted: $(VENV)/.installed  ## copies, personal data, evaluation texts: planted and found
	$(BIN)/python bench/bench_planted.py

bench-tokenizer: $(VENV)/.installed  ## encoding speed beside sentencepiece and tokenizers
	$(PYTHON) -m venv $(VENV)-bench-tokenizer
	$(VENV)-bench-tokenizer/bin/python -m pip install --quiet -c constraints.txt -r bench/env/tokenizer.txt
	$(BIN)/python bench/bench_tokenizer.py --peer-python $(VENV)-bench-tokenizer/bin/python

bench-evaluate: $(VENV)/.installed-dev  ## evaluation speed, memory and answers beside lm-eval (trains its model first, once)
	$(PYTHON) -m venv $(VENV)-bench-evaluate
	$(VENV)-bench-evaluate/bin/python -m pip install --quiet -c constraints.txt -r bench/env/evaluate.txt
	$(BIN)/python bench/bench_evaluate.py --peer-python $(VENV)-bench-evaluate/bin/python

experiments-ppo: $(VENV)/.installed  ## does PPO do what it should: a world of 32 numbers (three minutes)
	$(BIN)/python -m experiments.ppo_proof.run

experiments-instruct: $(VENV)/.installed-dev  ## SFT, reward, PPO, DPO beside each other, three seeds (after `make instruct`)
	$(BIN)/python -m experiments.instruct.run

experiments-clip: $(VENV)/.installed-dev  ## CLIP, CLOOB and SigLIP on emoji, photographs, a filter, three seeds (an hour and a half)
	test -f build/emoji/minna.json || $(MINNA) corpus build emoji --out build/emoji
	$(BIN)/python -m experiments.clip.run

experiments-speech: $(VENV)/.installed-dev  ## HuBERT pre-trained in Japanese, in English, or not at all; 3 and 50 minutes of labels
	$(BIN)/python -m experiments.speech.run

bench-sft: $(VENV)/.installed  ## supervised tuning: speed, memory, loss reached, beside TRL's SFTTrainer
	$(PYTHON) -m venv $(VENV)-bench-tune
	$(VENV)-bench-tune/bin/python -m pip install --quiet -c constraints.txt -r bench/env/tune.txt
	$(BIN)/python bench/bench_sft.py --peer-python $(VENV)-bench-tune/bin/python

bench-ppo: $(VENV)/.installed  ## PPO and GRPO: speed and memory beside TRL (two of its releases)
	$(PYTHON) -m venv $(VENV)-bench-tune
	$(VENV)-bench-tune/bin/python -m pip install --quiet -c constraints.txt -r bench/env/tune.txt
	$(PYTHON) -m venv $(VENV)-bench-ppo
	$(VENV)-bench-ppo/bin/python -m pip install --quiet -c constraints.txt -r bench/env/ppo.txt
	$(BIN)/python bench/bench_ppo.py --peer-python $(VENV)-bench-tune/bin/python --ppo-python $(VENV)-bench-ppo/bin/python

bench-beam: $(VENV)/.installed  ## beam search over phones beside pyctcdecode
	$(PYTHON) -m venv $(VENV)-bench-beam
	$(VENV)-bench-beam/bin/python -m pip install --quiet -r bench/env/beam.txt
	$(BIN)/python bench/bench_beam.py --peer-python $(VENV)-bench-beam/bin/python

bench-labels: $(VENV)/.installed  ## k-means labels of speech beside features on disk and scikit-learn
	$(PYTHON) -m venv $(VENV)-bench-labels
	$(VENV)-bench-labels/bin/python -m pip install --quiet -c constraints.txt -r bench/env/labels.txt
	$(BIN)/python bench/bench_labels.py --peer-python $(VENV)-bench-labels/bin/python

bench-speech: $(VENV)/.installed-dev  ## pre-training of HuBERT and wav2vec 2.0 beside plain loops around transformers
	$(PYTHON) -m venv $(VENV)-bench-speech
	$(VENV)-bench-speech/bin/python -m pip install --quiet -c constraints.txt -r bench/env/speech.txt
	$(BIN)/python bench/bench_speech.py --peer-python $(VENV)-bench-speech/bin/python

bench-contrastive: $(VENV)/.installed  ## the contrastive losses beside plain ones: time and memory at 1,024 and 8,192 pairs
	$(BIN)/python bench/bench_contrastive.py

bench-clip: $(VENV)/.installed  ## locked-image tuning beside open_clip; 37,000 texts beside padding to 77
	$(PYTHON) -m venv $(VENV)-bench-clip
	$(VENV)-bench-clip/bin/python -m pip install --quiet -c constraints.txt -r bench/env/clip.txt
	$(BIN)/python bench/bench_clip.py --peer-python $(VENV)-bench-clip/bin/python

clean:  ## remove what was built (not .venv)
	rm -rf build dist .coverage .coverage.*
