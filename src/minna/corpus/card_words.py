"""The words of a card: what each reason, kind and note is called in English and in Japanese.

Names in counts are for machines (`no_kana`). Who must answer for a corpus reads a sentence, and a
name without one here is shown as it is: a new source may bring a reason of its own and lose none.
"""

from __future__ import annotations

from typing import Final

from minna.corpus.card_blocks import Words

LEGAL_NOTES: Final = (
    (
        "Legal basis of training: in Japan, Article 30-4 of the Copyright Act permits using works "
        "for information analysis, to the extent necessary and not for enjoying what they express; "
        "its proviso excludes uses that unreasonably prejudice the copyright owner's interests "
        "(for example copying a database that is sold for such analysis). The builder confirms "
        "that this holds here; other countries have other law."
    ),
    (
        "Personal data: sources may name living people. The builder confirms that the use agrees "
        "with the Act on the Protection of Personal Information (or the law that applies)."
    ),
    (
        "Opt-outs: the builder confirms that reservations of rights known for the sources "
        "(robots.txt, terms of use, requests to be removed) were respected."
    ),
)
"""What a builder confirms, in English: the manifest carries these."""

LEGAL_NOTES_JA: Final = (
    (
        "学習の法的根拠：日本の著作権法第30条の4は、情報解析のための利用など、著作物に表現された"
        "思想又は感情の享受を目的としない利用を、必要と認められる限度で認めています。ただし、"
        "著作権者の利益を不当に害する場合（情報解析用に販売されているデータベースを複製する場合など）"
        "は除かれます。作成者は、この条件を満たしていることを確認してください。日本以外では"
        "その国の法律が適用されます。"
    ),
    (
        "個人情報：出典には存命の人物についての記述が含まれることがあります。作成者は、利用の方法が"
        "個人情報の保護に関する法律（または適用される他の法律）に沿っていることを確認してください。"
    ),
    (
        "オプトアウト：作成者は、出典について知られている権利の留保（robots.txt、利用規約、削除の依頼"
        "など）を尊重したことを確認してください。"
    ),
)
"""The same notes in Japanese, one for each."""

REASONS: Final = {
    "duplicate": Words(
        "the same text, after normalisation, came before",
        "正規化後に同一となる文書が先に現れている",
    ),
    "near_duplicate": Words(
        "nearly the same text came before (see Duplicates)",
        "ほぼ同じ文書が先に現れている（「重複の除去」を参照）",
    ),
    "boilerplate": Words(
        "nothing was left of it without boilerplate lines",
        "定型文の行を取り除くと本文が残らない",
    ),
    "repeated_paragraph": Words(
        "nothing was left of it without paragraphs that came before",
        "先に現れた段落を取り除くと本文が残らない",
    ),
    "contaminated": Words(
        "nothing was left of it without passages of evaluation sets",
        "評価用データと重なる行を取り除くと本文が残らない",
    ),
    "language": Words(
        "it is in another language than the one asked for", "求める言語の文書ではない"
    ),
    "orthography": Words(
        "it is spelled in another way than those asked for",
        "求める表記（字体・仮名遣い）ではない",
    ),
    "undecodable": Words(
        "its bytes are in no encoding that was tried", "どの文字コードとしても読めない"
    ),
    "malformed": Words(
        "the record is broken (for example, JSON that is cut)",
        "記録の形式が壊れている（途中で切れた JSON など）",
    ),
    "too_large": Words(
        "the record is larger than can be read safely",
        "安全に読み込める大きさを超えている",
    ),
    "empty": Words("no text was left of it", "本文が残らない"),
}
"""Reasons that are not filters."""

LINES: Final = {
    "boilerplate": Words(
        "boilerplate: the same line stands in many documents",
        "定型文：同じ行が多くの文書に現れる",
    ),
    "repeated_paragraph": Words(
        "a paragraph that came before", "重複段落：同じ段落が先に現れている"
    ),
    "contaminated": Words(
        "a passage that stands in an evaluation set", "混入：評価用データと重なる文章"
    ),
}
"""Why lines are taken out of documents that may be kept."""

PERSONAL: Final = {
    "email": Words("e-mail addresses", "メールアドレス"),
    "e-mail": Words("e-mail addresses", "メールアドレス"),
    "phone": Words("telephone numbers", "電話番号"),
    "telephone": Words("telephone numbers", "電話番号"),
    "postal": Words("postal codes and addresses", "郵便番号・住所"),
    "postcode": Words("postal codes", "郵便番号"),
    "address": Words("postal addresses", "住所"),
    "ip": Words("IP addresses", "IP アドレス"),
    "ipv4": Words("IP addresses", "IP アドレス"),
}
"""Kinds of personal data."""

NAMES: Final = {
    "ja": Words("Japanese", "日本語"),
    "en": Words("English", "英語"),
    "other": Words("other languages", "その他の言語"),
    "train": Words("train", "学習用（train）"),
    "valid": Words("valid", "検証用（valid）"),
    "test": Words("test", "テスト用（test）"),
    "新字新仮名": Words("新字新仮名 (new characters, new kana)", "新字新仮名"),
    "新字旧仮名": Words("新字旧仮名 (new characters, old kana)", "新字旧仮名"),
    "旧字旧仮名": Words("旧字旧仮名 (old characters, old kana)", "旧字旧仮名"),
    "旧字新仮名": Words("旧字新仮名 (old characters, new kana)", "旧字新仮名"),
    "その他": Words("その他 (not clear)", "その他"),
    "": Words("(not known)", "（不明）"),
}
"""Languages, splits and orthographies."""

NORMALISATION_JA: Final = (
    (
        "NFKC を適用します。ただし、全角の ！？（）：；，．、三点リーダー（… ‥）、丸囲み文字、"
        "上付き・下付き文字、分数、単独の濁点などの記号は元のまま残します。"
    ),
    "～（U+FF5E）は〜（U+301C）に統一し、合成できない濁点・半濁点は ゛・゜ にします。",
    (
        "制御文字、ゼロ幅文字（絵文字の連結子を含む）、異体字セレクタを取り除き、"
        "単独のサロゲートは U+FFFD にします。"
    ),
    (
        "改行は LF に統一します。連続する空白（タブ・全角空白を含む）は一つの半角空白にまとめ、"
        "行頭と行末の空白は取り除き、空行の連続は一行までとします。"
    ),
)
"""`japanese.RULES` in Japanese, one for each."""

BEFORE_RELEASE: Final = (
    Words(
        "Read the samples and the dropped texts above. A filter that drops good text, or a sample "
        "that nobody should learn from, is found by reading and not by counting.",
        "上に示した、残した文書と除いた文書の例を読んでください。良い文書を落としているフィルタや、"
        "学習に使うべきでない文書は、集計ではなく読むことで見つかります。",
    ),
    Words(
        "Check the terms of every source: attribution, share-alike, non-commercial clauses. They "
        "bind who passes the text on, and are not the licence of a model trained on it.",
        "すべての出典の利用条件（クレジットの表示、継承、非営利など）を確認してください。これらは"
        "テキストの再配布にかかる条件であり、学習したモデルのライセンスとは別のものです。",
    ),
    Words(
        "Masking finds patterns (addresses, numbers), not names or stories about people. Search "
        "the text for what your sources are likely to hold.",
        "個人情報の伏せ字は、アドレスや番号などの型に合うものだけが対象です。人名や個人についての"
        "記述は残ります。出典の性質に応じて、本文を検索して確かめてください。",
    ),
    Words(
        "Name every evaluation set the model will be judged by when building (decontamination), or "
        "say in the model's card that this was not done.",
        "モデルの評価に使うデータセットは、コーパスを作るときにすべて指定して混入を除いてください。"
        "除いていない場合は、モデルカードにその旨を書いてください。",
    ),
    Words(
        "Say whose voice is missing: the age, region and kind of text of the sources decide "
        "what a model takes for normal.",
        "どのような書き手が含まれていないかを明記してください。出典の時代・地域・文章の種類が、"
        "モデルにとっての「普通」を決めます。",
    ),
)
"""What to look at before a corpus, or a model trained on it, is published."""

CITE: Final = Words(
    "To cite this corpus, give the credit of each source as in the table above, the settings at "
    "the end of this card, and the sha256 of minna.json, which holds the hash of every file.",
    "このコーパスを引用するときは、上の表にある各出典のクレジットと、この文書の末尾の設定に加えて、"
    "すべてのファイルのハッシュを記録した minna.json の sha256 を示してください。",
)


def called(table: dict[str, Words], name: str) -> Words:
    """The words for a name, or the name itself."""
    return table.get(name, Words(name, name))
