#!/usr/bin/env python3
"""Writes src/text/unicode_additions.cpp: the characters that `tokenizers` (0.23, Unicode 16) knows and
Unicode 14 does not, with their category and script. Run with a Python of Unicode 14 (3.11)."""

import os
import unicodedata

from tokenizers import Regex, pre_tokenizers

CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cf".split()
SCRIPTS = """Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese Bamum Bassa_Vah Batak Bengali
Bhaiksuki Bopomofo Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian Caucasian_Albanian Chakma Cham Cherokee
Chorasmian Common Coptic Cuneiform Cypriot Cypro_Minoan Cyrillic Deseret Devanagari Dives_Akuru Dogra Duployan
Egyptian_Hieroglyphs Elbasan Elymaic Ethiopic Georgian Glagolitic Gothic Grantha Greek Gujarati Gunjala_Gondi
Gurmukhi Han Hangul Hanifi_Rohingya Hanunoo Hatran Hebrew Hiragana Imperial_Aramaic Inherited Inscriptional_Pahlavi
Inscriptional_Parthian Javanese Kaithi Kannada Katakana Kayah_Li Kharoshthi Khitan_Small_Script Khmer Khojki
Khudawadi Lao Latin Lepcha Limbu Linear_A Linear_B Lisu Lycian Lydian Mahajani Makasar Malayalam Mandaic Manichaean
Marchen Masaram_Gondi Medefaidrin Meetei_Mayek Mende_Kikakui Meroitic_Cursive Meroitic_Hieroglyphs Miao Modi
Mongolian Mro Multani Myanmar Nabataean Nandinagari New_Tai_Lue Newa Nko Nushu Nyiakeng_Puachue_Hmong Ogham Ol_Chiki
Old_Hungarian Old_Italic Old_North_Arabian Old_Permic Old_Persian Old_Sogdian Old_South_Arabian Old_Turkic Old_Uyghur
Oriya Osage Osmanya Pahawh_Hmong Palmyrene Pau_Cin_Hau Phags_Pa Phoenician Psalter_Pahlavi Rejang Runic Samaritan
Saurashtra Sharada Shavian Siddham SignWriting Sinhala Sogdian Sora_Sompeng Soyombo Sundanese Syloti_Nagri Syriac
Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet Takri Tamil Tangsa Tangut Telugu Thaana Thai Tibetan Tifinagh Tirhuta Toto
Ugaritic Vai Vithkuqi Wancho Warang_Citi Yezidi Yi Zanabazar_Square""".split()
NEW = [c for c in range(0x110000) if unicodedata.category(chr(c)) == "Cn"]
TEXT = "".join(map(chr, NEW))


def members(pattern):
    """The new characters that the library's regular expressions take for `pattern`."""
    found = set()
    for start in range(0, len(TEXT), 4096):
        pieces = pre_tokenizers.Split(Regex(pattern), "removed", invert=True).pre_tokenize_str(TEXT[start:start + 4096])
        for piece, _ in pieces:
            found.update(map(ord, piece))
    return found


def main():
    assert unicodedata.unidata_version == "14.0.0"
    unassigned = members(r"\p{Cn}")
    known = [c for c in NEW if c not in unassigned]
    category = {c: name for name in CATEGORIES for c in members(r"\p{%s}" % name)}
    script = {c: name for name in SCRIPTS for c in members(r"\p{%s}" % name)}
    rows = []
    for c in known:
        kind = (category[c], script.get(c, ""))
        if rows and rows[-1][0] == kind and rows[-1][2] == c - 1:
            rows[-1][2] = c
        else:
            rows.append([kind, c, c])
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../src/text/unicode_additions.cpp"), "w") as out:
        out.write('#include "text/unicode_additions.h"\n\nnamespace fathom {\n\n// Made by tools/make_unicode_additions.py.\n')
        out.write("std::span<const UnicodeAddition> unicode_additions() {\n")
        out.write("  static constexpr UnicodeAddition kAdditions[] = {\n")
        for (kind, name), first, last in rows:
            out.write(f'      {{"{kind}", "{name}", 0x{first:X}, 0x{last:X}}},\n')
        out.write("  };\n  return kAdditions;\n}\n\n}  // namespace fathom\n")


main()
