"""Types of the compiled extension: cffi's two objects. Their members follow include/vljepa.h."""

from typing import Any

ffi: Any
lib: Any
