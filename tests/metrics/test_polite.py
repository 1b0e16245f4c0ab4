"""Polite or plain, told from the end of a sentence alone."""

from __future__ import annotations

import pytest

from minna.metrics.polite import is_polite, style_of

POLITE = """
海は青いです。|海は青かったです|青でした。|青いでしょう。|青いでしょ？|青いでしょうね。|青いでしょうに。
行きます。|行きますか？|行きますね！|行きますよね。|行きました。|行きません。|行きませんでした。|行きましょう。
見ます。|来ました。|出ません。|寝ましょうか。|食べませんか？|ありがとうございます。|はじめまして。|すみません
ですね。|そうですよー！|そうですか…|本当ですって。|何でしたっけ？|暑いですけど。|行きますから。|困りますので。
静かにしてください。|待って下さい。|お待ちくださいませ。|どうぞおかけくださいね。|もちろんですとも。|そうですかしら。
行きたくないです。|（行きます）|「行きます。」|どこですか？？|彼は来た。私も行きます。|寝てます。|そうなんです
ご遠慮願います|来ることになっております。|それが問題なのです。|いらっしゃいませ！|ですから。
""".replace("\n", "|").split("|")

PLAIN = """
行くだろう。|それが問題なのだ。|海は青い。|青かった。|行く。|行かない。|行こう。|行け！|行ったか？|青いね。|青いよ
目を覚ました。|目を覚ます。|友を励ます。|友を励ました。|人をだました。|人をだますな。|冷ました。|悩ました。|用を済ます。
耳を澄ました。|胸を膨らました。|姿をくらました。|火をさました。|お休みなさい。|行きなさい。|ありがとう。|彼は先生だ。
彼は「行きます」と言った。|行きますと答えた。|静かだ。ですが行った。|先生がいらっしゃる。|元気？|ますます。|です。と言う
お願い。|海|あ|教えてくださった。|いいですね、それ。|デスク|ますのすし|弟子だ。|嬉しそうでした顔
""".replace("\n", "|").split("|")


@pytest.mark.parametrize("text", [text for text in POLITE if text])
def test_forms_of_desu_and_masu_and_kudasai_are_polite(text):
    assert is_polite(text) and style_of(text) == "polite"


@pytest.mark.parametrize("text", [*(text for text in PLAIN if text), "", "。", "？！"])
def test_everything_else_is_plain_also_verbs_that_look_polite(text):
    assert not is_polite(text) and style_of(text) == "plain"


def test_only_the_end_is_looked_at():
    assert is_polite("行かない。" * 10_000 + "行きます。")
    assert not is_polite("行きます。" * 10_000 + "行かない。")
