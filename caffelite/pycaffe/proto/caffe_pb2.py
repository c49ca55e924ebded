"""Caffe's messages and enums: BVLC's under BVLC's numbers, those of forks under caffelite's (``docs/schema.md``)."""

from caffelite.schema.generated import generated

globals().update(generated())
