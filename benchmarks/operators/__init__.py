"""Cases and measurement of ``benchmarks/ops.py``.

Every module but `measure` is a family of operators: ``cases() -> list[Case]``, and ``notes() -> list[str]`` if the
table is not all that there is to say. ``DEFAULT_ALLOCATOR = True`` in it says that an allocator which keeps freed
memory must not be used to measure it.
"""
