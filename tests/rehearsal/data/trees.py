"""Logical expressions as JSON trees: ``0``, ``1``, ``["not", tree]``, ``["and" | "or", tree, tree]``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from models.contract.errors import ValidationFailed

OPERATORS = ("and", "or", "not")
DEEPEST = 64


@dataclass(frozen=True)
class Node:
    """A node: its height, a value (leaves) or operator as a number, and its children's positions."""

    height: int
    symbol: int
    left: int = 0
    right: int = 0


def parse(text: str, pointer: str) -> object:
    """Return the tree that ``text`` writes in JSON.

    Raises:
        ValidationFailed: not JSON; says where.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValidationFailed.at(pointer, f"is no JSON tree ({error})") from error


def flatten(trees: Iterable[object], pointer: str) -> tuple[list[Node], list[int]]:
    """Return all nodes of all trees, children first, and the positions of the roots.

    Raises:
        ValidationFailed: a tree is not built as the module says; names it.
    """
    nodes: list[Node] = []
    return nodes, [_add(tree, nodes, f"{pointer}/{index}", DEEPEST) for index, tree in enumerate(trees)]


def _add(tree: object, nodes: list[Node], pointer: str, levels_left: int) -> int:
    match tree:
        case 0 | 1 if isinstance(tree, int):
            nodes.append(Node(0, int(tree)))
        case [str() as operator, *children] if (
            operator in OPERATORS and len(children) == (1 if operator == "not" else 2) and levels_left > 0
        ):
            below = [_add(child, nodes, pointer, levels_left - 1) for child in children]
            height = 1 + max(nodes[child].height for child in below)
            nodes.append(Node(height, OPERATORS.index(operator), below[0], below[-1]))
        case _:
            detail = f"is not 0, 1 or an operation of {', '.join(OPERATORS)} at most {DEEPEST} deep"
            raise ValidationFailed.at(pointer, detail)
    return len(nodes) - 1
