"""The form of every text that may come in. All are matched from end to end; none admits white space, quotes or `%`."""

from __future__ import annotations

import re

USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,127}")
JOB_NAME = re.compile(r"sampan\.[a-z2-7]{8}\.[a-z2-7]{24}\.[0-9]{1,6}")
STAGE = re.compile(JOB_NAME.pattern + r"\.[0-9]{1,6}")
NAME_PREFIX = re.compile(r"sampan\.[a-z2-7]{8}\.(?:[a-z2-7]{24}\.(?:[0-9]{1,6})?)?")
SLURM_JOB = re.compile(r"[1-9][0-9]{0,9}(?:_(?:0|[1-9][0-9]{0,6}))?")
FILE_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}\.[a-z]{1,8}")
LOG_NAME = re.compile(r"(?:job|[0-9]{1,7})\.log")
BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_NO_DOTS = r"(?!\.{1,2}(?:/|\Z))"
PROGRAM = re.compile(rf"(?:/{_NO_DOTS}[A-Za-z0-9_@+.-]{{1,255}}){{1,64}}")
FOLDER = re.compile(rf"(?:/{_NO_DOTS}[A-Za-z0-9_@+.,=-]{{1,255}}){{1,64}}")
"""Absolute paths without anything that a shell or Slurm could read as more than a path."""

COMMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:=-]{0,999}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@-]{0,127}")
"""An account, QOS or reservation."""
NAMES = re.compile(rf"{NAME.pattern}(?:,{NAME.pattern}){{0,31}}")
"""Partitions: one or several to choose from."""
CONSTRAINT = re.compile(r"[A-Za-z0-9_.+*&|,:()\[\]-]{1,255}")
GRES = re.compile(r"[A-Za-z0-9_.+,:-]{1,255}")
