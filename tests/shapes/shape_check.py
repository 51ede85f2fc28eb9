"""The judge of annotations while tests run: shapes, dtypes and types of every call into the app.

Named in pytest's settings (pyproject.toml, ``--jaxtyping-packages``). It has a folder of its own because that
folder joins the path of imports. A whole number may stand for a float, as in PEP 484. Kernels for numba are
left out: a function wrapped by a check cannot be compiled.
"""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
