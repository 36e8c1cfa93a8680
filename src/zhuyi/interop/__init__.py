"""Models for other programs: what zhuyi has trained, in the formats that those read."""
