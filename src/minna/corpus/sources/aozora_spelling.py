"""Which spelling a work is in: 新字 or 旧字 characters, 新仮名 or 旧仮名 kana.

The files do not say; both reforms (characters 1946, kana 1946) left marks that can be counted. Old
characters: the share of 學 國 會 among all that have two forms, of the pairs that JIS X 0208 can
tell apart. Old kana: the share of ゐ, ゑ, やう, 思ふ, あつた among those and what replaced them.
Only the text counts, without its ruby (often in new kana beside old text), and of a long work four
samples of 6,000 characters: 0.2 to 0.7 ms a work.

Of 6,110 works 3,667 are 新字新仮名, 1,418 新字旧仮名, 738 旧字旧仮名, 16 旧字新仮名, and in 271,
mostly poems and notes of some lines, too little tells. In 216 works a colophon hints at the
spelling: 204 agree; of the others seven say 表記をあらためました where the text has old kana (only
its characters were changed), three are poems that stay その他, two are wrong. 26 pairs of files
that hold one work in two spellings get two labels.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final, Literal

import numpy as np

Orthography = Literal["新字新仮名", "新字旧仮名", "旧字旧仮名", "旧字新仮名", "その他"]
ORTHOGRAPHIES: Final[tuple[Orthography, ...]] = (
    "新字新仮名",
    "新字旧仮名",
    "旧字旧仮名",
    "旧字新仮名",
    "その他",
)

PAIRS: Final = (
    "亜亞 悪惡 圧壓 囲圍 医醫 為爲 壱壹 隠隱 栄榮 営營 衛衞 駅驛 円圓 塩鹽 "
    "縁緣 艶艷 応應 欧歐 殴毆 桜櫻 奥奧 横橫 温溫 穏穩 仮假 価價 画畫 会會 "
    "絵繪 壊壞 懐懷 概槪 拡擴 殻殼 覚覺 学學 岳嶽 楽樂 渇渴 缶罐 巻卷 陥陷 "
    "勧勸 寛寬 関關 歓歡 観觀 気氣 帰歸 亀龜 偽僞 戯戲 犠犧 旧舊 拠據 挙擧 "
    "虚虛 峡峽 挟挾 狭狹 郷鄕 暁曉 区區 駆驅 勲勳 薫薰 径徑 茎莖 恵惠 掲揭 "
    "渓溪 経經 蛍螢 軽輕 継繼 鶏鷄 芸藝 撃擊 欠缺 研硏 県縣 倹儉 剣劍 険險 "
    "圏圈 検檢 献獻 権權 顕顯 験驗 厳嚴 広廣 効效 恒恆 黄黃 鉱鑛 号號 国國 "
    "黒黑 砕碎 済濟 斎齋 剤劑 雑雜 参參 桟棧 蚕蠶 惨慘 賛贊 残殘 糸絲 歯齒 "
    "児兒 辞辭 湿濕 実實 写寫 釈釋 寿壽 収收 従從 渋澁 獣獸 縦縱 粛肅 処處 "
    "緒緖 叙敍 尚尙 将將 称稱 渉涉 焼燒 証證 奨奬 条條 状狀 乗乘 浄淨 剰剩 "
    "畳疊 縄繩 壌壤 嬢孃 譲讓 醸釀 触觸 嘱囑 真眞 寝寢 慎愼 尽盡 図圖 粋粹 "
    "酔醉 穂穗 随隨 髄髓 枢樞 数數 瀬瀨 声聲 斉齊 静靜 窃竊 摂攝 専專 浅淺 "
    "戦戰 践踐 銭錢 潜潛 繊纖 禅禪 双雙 壮壯 争爭 荘莊 捜搜 挿插 巣巢 曽曾 "
    "痩瘦 装裝 総總 騒騷 増增 蔵藏 臓臟 即卽 属屬 続續 堕墮 対對 体體 帯帶 "
    "滞滯 台臺 滝瀧 択擇 沢澤 担擔 単單 胆膽 団團 断斷 弾彈 遅遲 痴癡 虫蟲 "
    "昼晝 鋳鑄 庁廳 徴徵 聴聽 勅敕 鎮鎭 逓遞 鉄鐵 点點 転轉 伝傳 灯燈 当當 "
    "党黨 盗盜 稲稻 闘鬪 徳德 独獨 読讀 届屆 弐貳 悩惱 脳腦 覇霸 拝拜 廃廢 "
    "売賣 麦麥 発發 髪髮 抜拔 晩晚 蛮蠻 秘祕 浜濱 瓶甁 払拂 仏佛 併倂 並竝 "
    "餅餠 辺邊邉 変變 弁辨瓣辯 歩步 宝寶寳 豊豐 褒襃 頬頰 翻飜 没沒 毎每 万萬 "
    "満滿 麺麵 黙默 弥彌 訳譯 薬藥 与與 予豫 余餘 誉譽 揺搖 様樣 謡謠 来來 "
    "頼賴 乱亂 覧覽 竜龍 両兩 猟獵 緑綠 涙淚 塁壘 礼禮 励勵 戻戾 霊靈 齢齡 "
    "暦曆 歴歷 恋戀 錬鍊 炉爐 労勞 郎郞 楼樓 録錄 湾灣 巌巖 尭堯 遥遙 桧檜 "
    "槙槇 唖啞 焔焰 鴎鷗 讃讚 蝿蠅 産產 青靑 清淸 説說 税稅 脱脫 鋭銳 閲閱 "
    "悦悅 戸戶 呉吳 娯娛 顔顏 顛顚 填塡 剥剝 嚢囊 侠俠 繋繫 醤醬 鹸鹼 掻搔 "
    "掴摑 噛嚙 蝋蠟 涜瀆 屏屛 莱萊 頚頸 "
)
"""New form, then its old ones: those of 常用漢字表 that Unicode tells apart (the rest, such as 海
with two dots, are compatibility characters), and common others."""

_AMBIGUOUS_NEW = (
    "余予欠弁万号虫灯糸缶台党礼与秘翻"  # stood beside the old form long before the reform
)
_AMBIGUOUS_OLD = "龍燈瀧澤飜"  # names keep them


def _in_shift_jis(character: str) -> bool:
    try:
        character.encode("shift_jis")
    except UnicodeEncodeError:
        return False
    return True


_OTHER, _OLD, _NEW, _KANJI, _HIRAGANA, _KATAKANA = 0, 1, 2, 4, 8, 16


def _classes() -> np.ndarray:
    """Class of each 16-bit code: kanji, old form, new form, kana."""
    table = np.zeros(65536, dtype=np.uint8)
    table[0x4E00:0xA000] = _KANJI
    table[ord("々")] = _KANJI
    table[0x3041:0x3097] = _HIRAGANA
    table[0x30A1:0x30F7] = _KATAKANA
    for new, *old_forms in PAIRS.split():
        known = [old for old in old_forms if _in_shift_jis(old)]
        if known and new not in _AMBIGUOUS_NEW:
            table[ord(new)] |= _NEW
        for old in known:
            if old not in _AMBIGUOUS_OLD:
                table[ord(old)] |= _OLD
    return table


_CLASSES = _classes()
_SAMPLE = 6000
_SAMPLES = 4
_KATAKANA_TO_HIRAGANA = 0x60

# The size of っ tells nothing: new kana were long printed with a large one, and 宮沢賢治's old kana
# come with a small one. Nor does かう (向かう) or へ behind kanji (東京へ).
_OLD_KANA = ("ゐ", "ゑ", "やう", "せう", "だらう", "いふ", "さう", "なほ", "けふ", "をり")
_NEW_KANA = ("てい", "でい", "よう", "しょう", "だろう", "いう", "そう", "きょう")
_OLD_BEHIND_KANJI = "ふひ"  # 思ふ, 思ひ
_NEW_BEHIND_KANJI = "う"  # 思う
_LEAST_KANJI = 1  # characters of two forms; 99 % of works have under 10 % or over 80 % of the old
_LEAST_KANA = 2
_LEAST_KANA_AGAINST_CHARACTERS = 20  # old characters with new kana: 16 of 6,110 works


def orthography(text: str) -> Orthography:
    """The spelling of a clean text; その他 where too little in it tells."""
    codes = _sample(text)
    classes = _CLASSES[codes]
    counts = np.bincount(classes & (_HIRAGANA | _KATAKANA), minlength=17)
    if counts[_KATAKANA] > counts[_HIRAGANA]:  # laws and letters: ス, not す
        codes = np.where(classes == _KATAKANA, codes - _KATAKANA_TO_HIRAGANA, codes)
    old = int(np.count_nonzero(classes & _OLD))
    new = int(np.count_nonzero(classes & _NEW))
    old_characters = old > new if old + new >= _LEAST_KANJI else None
    old, new = _kana(codes.astype("<u2"), behind_kanji=(classes[:-1] & _KANJI) > 0)
    least = _LEAST_KANA_AGAINST_CHARACTERS if old_characters and new >= old else _LEAST_KANA
    old_kana = old > new if old + new >= least else None
    return _label(old_characters=old_characters, old_kana=old_kana)


def _sample(text: str) -> np.ndarray:
    """UTF-16 codes of the whole text, or of some parts of it evenly spread."""
    if len(text) > _SAMPLES * _SAMPLE:
        step = (len(text) - _SAMPLE) // (_SAMPLES - 1)
        parts = [text[k * step : k * step + _SAMPLE] for k in range(_SAMPLES)]
        text = "\n".join(parts)
    return np.frombuffer(text.encode("utf-16-le", "surrogatepass"), dtype="<u2")


def _kana(codes: np.ndarray, *, behind_kanji: np.ndarray) -> tuple[int, int]:
    """How many signs of old, and of new kana there are."""
    text = codes.tobytes().decode("utf-16-le", "surrogatepass")
    following = codes[1:][behind_kanji]
    old = sum(map(text.count, _OLD_KANA))
    new = sum(map(text.count, _NEW_KANA))
    old += sum(int(np.count_nonzero(following == ord(c))) for c in _OLD_BEHIND_KANJI)
    new += sum(int(np.count_nonzero(following == ord(c))) for c in _NEW_BEHIND_KANJI)
    return old, new


def _label(*, old_characters: bool | None, old_kana: bool | None) -> Orthography:
    """What the two signs mean; one alone is enough where the other then follows.

    Old characters with new kana are rare, so old characters mean old kana, and new kana new
    characters, where nothing else is known.
    """
    if old_characters is None and old_kana is None:
        return "その他"
    if old_characters is None:
        return "その他" if old_kana else "新字新仮名"
    if old_kana is None:
        return "旧字旧仮名" if old_characters else "その他"
    if old_characters:
        return "旧字旧仮名" if old_kana else "旧字新仮名"
    return "新字旧仮名" if old_kana else "新字新仮名"


_MODERN = {ord(old): new for new, *forms in map(tuple, PAIRS.split()) for old in forms}
_LARGE_KANA = str.maketrans(
    "ぁぃぅぇぉっゃゅょゎゐゑをぢづふひへは", "あいうえおつやゆよわいえおじずういえわ"
)
_SOUNDS = (("やう", "よう"), ("さう", "そう"), ("かう", "こう"), ("らう", "ろう"), ("たう", "とう"),
    ("まう", "もう"), ("はう", "ほう"), ("わう", "おう"), ("せう", "しよう"), ("けう", "きよう"),
    ("てう", "ちよう"), ("れう", "りよう"))  # fmt: skip
_HIRAGANA_OF = str.maketrans({0x30A1 + k: 0x3041 + k for k in range(86)})
_EDITION = re.compile(r"[（(〔［\[][^）)〕］\]]*[）)〕］\]]$")
_REPEAT = re.compile(r"(.)([ゝゞ々])")


def same_work_key(name: str) -> str:
    """A title or a name so that old and new spelling of it are equal.

    It joins more than it must (は and わ), which only makes a group larger; it must not be shown.
    """
    name = unicodedata.normalize("NFKC", name).translate(_MODERN).translate(_HIRAGANA_OF)
    shorter = _EDITION.sub("", name.strip())
    name = "".join(filter(str.isalnum, _REPEAT.sub(r"\1\1", shorter or name))).casefold()
    name = name.translate(_LARGE_KANA)
    for old, new in _SOUNDS:
        name = name.replace(old, new)
    return name
