"""Names that Python takes, for those of a net.

The names of a net come from a file that nobody vouches for: nothing but ASCII letters, digits and underscores goes
from them into code.
"""

import keyword
import re

#: What the written file has names for: a layer or a blob is not called so.
RESERVED = frozenset(
    {"F", "Path", "Tensor", "load", "load_file", "nn", "self", "super", "torch", "len", "range", "zip"}
)
#: What nn.Module has names for (PyTorch 2.14): a layer is not called so.
OF_MODULES = frozenset(
    """
    add_module apply bfloat16 buffers call_super_init children compile cpu cuda double dump_patches eval extra_repr
    float forward get_buffer get_extra_state get_parameter get_submodule half ipu load_state_dict modules mtia
    named_buffers named_children named_modules named_parameters parameters register_backward_hook register_buffer
    register_forward_hook register_forward_pre_hook register_full_backward_hook register_full_backward_pre_hook
    register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module register_parameter
    register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ set_extra_state set_submodule share_memory
    state_dict to to_empty train training type xpu zero_grad T_destination
    """.split()
)


class Names:
    """Different names for different things.

    Parameters
    ----------
    taken : set of str
        Names that none gets.
    kind : str
        What a name begins with that would not begin with a letter.
    """

    def __init__(self, taken: frozenset[str], kind: str) -> None:
        self._taken = set(taken)
        self._kind = kind
        self._given: dict[str, str] = {}

    def of(self, name: str) -> str:
        """Return the name for a thing of this name: the same one each time."""
        if name not in self._given:
            self._given[name] = self.new(name)
        return self._given[name]

    def new(self, name: str) -> str:
        """Return a name like this one that nothing has."""
        plain = python_name(name, self._kind)
        made, number = plain, 1
        while made in self._taken:
            number += 1
            made = f"{plain}_{number}"
        self._taken.add(made)
        return made


def python_name(name: str, kind: str) -> str:
    """Return a name as Python takes it: itself, where it is one.

    Parameters
    ----------
    name : str
    kind : str
        What it begins with where it would not begin with a letter.
    """
    plain = re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_") if not name.isidentifier() or not name.isascii() else name
    if not plain[:1].isalpha():
        plain = f"{kind}_{plain.lstrip('_')}".rstrip("_")
    return f"{plain}_" if keyword.iskeyword(plain) or keyword.issoftkeyword(plain) else plain


def comment(text: str) -> str:
    """Return text that can stand in a comment: in one line, nothing that is not printed."""
    return "".join(c if c.isprintable() else "?" for c in text)
