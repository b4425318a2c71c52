"""What steers a terminal or cannot be seen is spelt out; what can be seen stays as it is."""

import unicodedata

from fastcollate.reports.text import printable

# These signs are of category Cf, and are seen: Arabic and Kaithi numbers stand above them.
SEEN = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
FILLERS = {0x115F, 0x1160, 0x3164, 0xFFA0}  # letters by category, which show nothing


def test_no_control_or_format_character_gets_through_and_all_others_do():
    spelt = {code for code in range(0x110000) if printable(chr(code)) != chr(code)}
    hidden = {c for c in range(0x110000) if unicodedata.category(chr(c)) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert hidden - spelt == {9, 10} | SEEN
    assert {code for code in spelt if unicodedata.category(chr(code))[0] in "LNPS"} == FILLERS
    assert {code for code in spelt if unicodedata.category(chr(code))[0] == "M"} == {
        *(0x034F, 0x17B4, 0x17B5, 0x180F, *range(0x180B, 0x180E), *range(0xFE00, 0xFE10)),
        *range(0xE0100, 0xE01F0),
    }


def test_what_is_spelt_out_says_what_it_is():
    assert printable("a\x1b[2J\u202e\U000e0041\ud800é😀") == r"a\x1b[2J\u202e\U000e0041\ud800é😀"
