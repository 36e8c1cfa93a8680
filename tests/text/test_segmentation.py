import shutil
import subprocess

import pytest

from zhuyi.text.segmentation import MARKS, count_marks, segmentation_warning

TEXT = ["This is a low -key example, really", "Is it"]
SEGMENTED = {
    "@@": ["Th@@ is is a lo@@ w -key exam@@ ple, re@@ ally", "I@@ s it@@"],
    "▁": ["▁Th is ▁is ▁a ▁low ▁-key ▁exam ple , ▁really", "▁I s ▁it"],
    "￭": ["Th￭ is is a low -￭ key exam ￭ple ￭, really", "Is it"],
    "￨": ["This￨C is￨L a￨L low￨L -key￨L example,￨L really￨L", "Is￨C it￨L"],
    "##": ["Th ##is is a low - ##key exam ##ple, really", "I ##s it"],
}


@pytest.mark.unix
@pytest.mark.parametrize("mark", MARKS)
def test_what_a_tool_has_segmented_is_seen_and_can_be_undone(mark: str) -> None:
    lines = SEGMENTED[mark]
    warning = segmentation_warning("the references", count_marks(lines), len(lines))
    assert warning is not None
    assert warning.startswith(f"the references look segmented ({mark} in ")
    assert "\n" not in warning
    if shutil.which("sed"):
        command = warning.partition("undo it first: ")[2]
        text = "".join(f"{line}\n" for line in lines)
        done = subprocess.run(["sh", "-c", command], input=text, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines() == TEXT


def test_ordinary_text_is_not_taken_for_segmented() -> None:
    lines = ["me@@home.org", "@@ -1,2 +3 @@", "## A heading ##", "see #1 and ##2", "a ▁", "▁", "█▁▂", "C# ", "", "x"]
    assert count_marks([line for line in lines if "▁" not in line and "##2" not in line]) == {}
    assert segmentation_warning("they", count_marks([]), 0) is None
    mixed = [*["a dog"] * 19, "th@@ is"]
    assert count_marks(mixed) == {"@@": 1}
    assert segmentation_warning("they", count_marks(mixed), 20) is None
    assert segmentation_warning("they", count_marks(mixed[10:]), 10) is not None
