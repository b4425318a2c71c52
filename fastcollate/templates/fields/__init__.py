"""Templates of sections with fields: `prompt_template.py` fills them in, record by record.

`parts.py` are the sections, and `many_records.py` does the same for many records at once.
"""

from fastcollate.templates.fields.parts import Part
from fastcollate.templates.fields.prompt_template import PromptTemplate

__all__ = ["Part", "PromptTemplate"]
