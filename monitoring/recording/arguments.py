"""A call's arguments under their parameters' names, and the one that says what the run is about."""

import inspect
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from monitoring.recording.privacy import is_secret, written_parameters
from monitoring.values.text import NAME_MAX, storable_name

_MOST_KEY_BITS = 4096  # no key has more; Python refuses to print much longer ones


class Call(NamedTuple):
    """What a task calls: the name that it is known by, and its arguments; without a signature these have no names.

    `places` are the parameters' names where that is known beforehand, see `places_of`.
    """

    name: str
    args: Sequence[object]
    kwargs: Mapping[str, object]
    signature: inspect.Signature | None
    places: Sequence[str] = ()


def texts_of(call: Call) -> tuple[str, str | None]:
    """The parameters as they are stored, and the context id."""
    parameters = named(call)
    return written_parameters(parameters), context_id_of(parameters, call.signature)


def named(call: Call) -> dict[str, object]:
    """The arguments under their parameters' names; without a signature those that were given by name."""
    if len(call.args) <= len(call.places):  # most calls, for a tenth of what binding costs
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
    except TypeError:  # arguments that do not fit: the task itself will say so
        names = list(call.signature.parameters)
        names += [f"argument {place + 1}" for place in range(len(names), len(call.args))]
        return dict(zip(names, call.args, strict=False)) | dict(call.kwargs)


def places_of(signature: inspect.Signature | None) -> tuple[str, ...]:
    """The parameters' names, if each may be given by its place; else none."""
    parameters = signature.parameters if signature else {}
    kinds = {parameter.kind for parameter in parameters.values()}
    return tuple(parameters) if kinds <= {inspect.Parameter.POSITIONAL_OR_KEYWORD} else ()


def context_id_of(parameters: Mapping[str, object], signature: inspect.Signature | None) -> str | None:
    """The value given for the first parameter, if that can be the key of something and is no secret."""
    name = next(iter(signature.parameters), "") if signature else ""
    first = parameters.get(name)
    if isinstance(first, str):
        return None if is_secret(name) else storable_name(first)
    if isinstance(first, int) and not isinstance(first, bool) and first.bit_length() <= _MOST_KEY_BITS:
        return str(int(first))[:NAME_MAX]
    return None
