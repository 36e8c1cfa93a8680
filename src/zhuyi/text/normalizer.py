"""The normal form of a line, in which it is tokenised, and in which scores compare it."""

from tokenizers import Regex, normalizers

from zhuyi.config import Normalization, Whitespace

SPACE, BREAK = " ", "\n"


def normalizer(
    lowercase: bool, normalization: Normalization, whitespace: Whitespace = "collapse"
) -> normalizers.Normalizer:
    """The function from a line to its normal form, which is what is encoded, decoded and scored (`normalize_str`).

    The steps are: lower case if `lowercase` (code point by code point); NFC according to Unicode 9, unless
    `normalization` is none; a single space for each run of white space, and none at the ends, unless `whitespace` is
    keep. White space is defined as in `str.isspace` and `str.split`.
    """
    lower = [normalizers.Lowercase()] if lowercase else []
    nfc = [normalizers.NFC()] if normalization == "nfc" else []
    spaces = [normalizers.Replace(Regex(r"[\s\x1C-\x1F]+"), SPACE), normalizers.Strip()]
    return normalizers.Sequence([*lower, *nfc, *(spaces if whitespace == "collapse" else [])])


def keeps_whitespace(form: normalizers.Normalizer) -> bool:
    """Whether white space is text like any other in this normal form."""
    return bool(form.normalize_str(BREAK))
