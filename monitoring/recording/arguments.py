"""A call's arguments by parameter name, and the one that says what the run is about."""

import inspect
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from monitoring.recording.privacy import is_secret, without_passwords, written_parameters
from monitoring.values.text import NAME_MAX, storable_name

_MOST_KEY_BITS = 4096  # no key has more; Python refuses to print much longer ones


class Call(NamedTuple):
    """What a task calls: the name it is known by, and its arguments, which have no names without a signature.

    `places` are the parameters' names if they are known beforehand, see `places_of`.
    """

    name: str
    args: Sequence[object]
    kwargs: Mapping[str, object]
    signature: inspect.Signature | None
    places: Sequence[str] = ()


def texts_of(call: Call) -> tuple[str, str | None]:
    """The parameters in the form they are stored in, and the context id."""
    parameters = named(call)
    return written_parameters(parameters), context_id_of(parameters, call.signature)


def named(call: Call) -> dict[str, object]:
    """The arguments by parameter name; without a signature, only those that were given by name."""
    if len(call.args) <= len(call.places):  # most calls, at a tenth of the cost of binding
        given = dict(zip(call.places, call.args, strict=False))
        if not call.kwargs:
            return given
        if not given.keys() & call.kwargs.keys() and call.kwargs.keys() <= set(call.places):
            given |= call.kwargs
            return {name: given[name] for name in call.places if name in given}
    if call.signature is None:
        return dict(call.kwargs)
    try:
        return dict(call.signature.bind_partial(*call.args, **call.kwargs).arguments)
    except TypeError:  # the arguments do not fit: the task itself will say so
        names = list(call.signature.parameters)
        names += [f"argument {place + 1}" for place in range(len(names), len(call.args))]
        return dict(zip(names, call.args, strict=False)) | dict(call.kwargs)


def places_of(signature: inspect.Signature | None) -> tuple[str, ...]:
    """The parameters' names if each may be given by position or by name; otherwise none."""
    parameters = signature.parameters if signature else {}
    kinds = {parameter.kind for parameter in parameters.values()}
    return tuple(parameters) if kinds <= {inspect.Parameter.POSITIONAL_OR_KEYWORD} else ()


def context_id_of(parameters: Mapping[str, object], signature: inspect.Signature | None) -> str | None:
    """The value given for the first parameter, if it can be a key of something and is not a secret."""
    name = next(iter(signature.parameters), "") if signature else ""
    first = None if is_secret(name) else parameters.get(name)
    if isinstance(first, str):
        return storable_name(without_passwords(first))
    if isinstance(first, int) and not isinstance(first, bool) and first.bit_length() <= _MOST_KEY_BITS:
        return str(int(first))[:NAME_MAX]
    return None
