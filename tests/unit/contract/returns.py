"""Compares what a module's RETURN documents with what it returned, in both directions."""

TYPES = {"str": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict}


def mismatches(documented, value, where):
    """Yield one line for each difference between a RETURN entry and a value; None is allowed everywhere."""
    if value is None:
        return
    kind = TYPES[documented["type"]]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        yield f"{where}: documented {documented['type']}, returned {type(value).__name__}"
        return
    if documented["type"] == "list":
        for element in value:
            yield from mismatches({**documented, "type": documented["elements"]}, element, f"{where}[]")
    elif documented["type"] == "dict":
        for name in sorted(set(documented["contains"]) ^ set(value)):
            yield f"{where}.{name}: only {'returned' if name in value else 'documented'}"
        for name in sorted(set(documented["contains"]) & set(value)):
            yield from mismatches(documented["contains"][name], value[name], f"{where}.{name}")
