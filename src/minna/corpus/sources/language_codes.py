"""Which language a data set's own word for it means.

Data sets write one language in five ways: ja, jpn (ISO 639-3), jpn_Jpan (FineWeb-2), ja-JP and
ja_JP. A word that is taken for another language loses the whole corpus, since documents in another
language than the one asked for are dropped; one that is not understood loses nothing, because then
the text is asked. So a word counts only where it surely is a code.
"""

from __future__ import annotations

import re
from typing import Final

_WORD: Final = re.compile(r"([a-z]{2,8})([-_][a-z]{4}(?![a-z0-9]))?(?:[-_][a-z0-9]{1,8})*")
_JAPANESE: Final = frozenset({"ja", "jpn", "japanese"})
_ENGLISH: Final = frozenset({"en", "eng", "english", "simple"})  # an edition of Wikipedia
_LETTERS: Final = 3
_NO_LANGUAGE: Final = frozenset({"und", "mul", "mis", "zxx"})
"""Codes for "not known", "several", "one without a code" and "no language at all"."""
_LIST: Final = (
    "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy "
    "da de dv dz ee el eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy "
    "hz ia id ie ig ii ik io is it iu jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li "
    "ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os "
    "pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te "
    "tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu "
    "aar abk ace ach acm ada ady afa afh afr ain ajp aka akk alb ale alg als alt amh ang anp apa "
    "apc ara arb arc arg arm arn arp ars art arw ary arz asm ast ath aus ava ave awa aym ayr azb "
    "aze azj bad bai bak bal bam ban baq bar bas bat bej bel bem ben ber bho bih bik bin bis bla "
    "bnt bod bos bra bre btk bua bug bul bur byn cad cai car cat cau ceb cel ces cha chb che chg "
    "chi chk chm chn cho chp chr chu chv chy ckb cmc cmn cnr cop cor cos cpe cpf cre crh crp csb "
    "cus cym cze dak dan dar day del den deu dgr dik din div doi dra dsb dua dum dut dyu dzo efi "
    "egy eka ekk ell elx enm epo est eus ewe ewo fan fao fas fat fij fil fin fiu fon fra fre frm "
    "fro frr frs fry ful fur fuv gaa gay gaz gba gem geo ger gez gil gla gle glg glv gmh goh gon "
    "gor got grb grc gre grn gsw guj gwi hai hak hat hau haw hbs heb her hil him hin hit hmn hmo "
    "hrv hrx hsb hun hup hye iba ibo ice ido iii ijo iku ile ilo ina inc ind ine inh ipk ira iro "
    "isl ita jav jbo jpr jrb kaa kab kac kal kam kan kar kas kat kau kaw kaz kbd kea kha khi khk "
    "khm kho kik kin kir kmb kmr knc kok kom kon kor kos kpe krc krl kro kru kua kum kur kut lad "
    "lah lam lao lat lav lez lij lim lin lit lmo lol loz ltg ltz lub lug lui lun luo lus lvs mac "
    "mad mag mah mai mak mal man mao map mar mas may mdf mdr men mga mic min mkd mkh mlg mlt mnc "
    "mni mno moh mon mos mri msa mun mus mwl mwr mya myn myv nah nai nap nau nav nbl nde ndo nds "
    "nep new nia nic niu nld nno nob nog nor npi nqo nso nub nwc nya nym nyn nyo nzi oci oji ori "
    "orm ory osa oss ota oto paa pag pal pam pan pap pau peo per pes phi phn pli plt pms pnb pol "
    "pon por pra pro prs pus que quy raj rap rar roa roh rom ron rum run rup rus sad sag sah sai "
    "sal sam san sas sat scn sco sel sem sga sgn shn sid sin sio sit sla slk slo slv sma sme smi "
    "smj smn smo sms sna snd snk sog som son sot spa sqi srd srn srp srr ssa ssw suk sun sus sux "
    "swa swe swh syc syr tah tai tam taq tat tel tem ter tet tgk tgl tha tib tig tir tiv tkl tlh "
    "tli tmh tog ton tpi tsi tsn tso tuk tum tup tur tut tvl twi tyv udm uga uig ukr umb urd uzb "
    "uzn uzs vai vec ven vie vol vot wak wal war was wel wen wln wol wuu xal xho yao yap ydd yid "
    "yor ypk yue zap zbl zen zgh zha zho zlm znd zsm zul zun zza"
)
_CODES: Final = frozenset(_LIST.split())
"""ISO 639-1 and 639-2, and what large data sets use of 639-3. Not in it: jp, xx, php, lua."""


def language_code(value: object) -> str:
    """The language a word names: ja, en, the code of another one, or "" where that is not sure.

    Args:
        value: what a row or a folder says, such as "jpn_Jpan", "ja-JP", "en_US", "simple", "deu".
    """
    found = _WORD.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    if found is None:
        return ""
    code, script = found.groups()
    if code in _JAPANESE:
        return "ja"
    if code in _ENGLISH:
        return "en"
    # a script behind it, as in tpi_Latn: then three letters are one of the 7,900 of ISO 639-3
    rare = script is not None and len(code) == _LETTERS and code not in _NO_LANGUAGE
    return code if code in _CODES or rare else ""
