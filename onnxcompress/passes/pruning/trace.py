"""What a walk over a model finds out: the atoms of every axis of every tensor.

The algebra: constants are born with fresh atoms on every axis; a rule for each op says which axes carry the same list
(`Trace.unify`), which new lists come out (`Trace.put`), and what must stay (`Trace.freeze`). An axis without a list is
fixed: what is unified with it freezes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import array_of, label, tensor_of
from onnxcompress.passes.pruning.atoms import Atoms, Ids
from onnxcompress.passes.pruning.products import Joint, Pick, Product, Row, Split, laid_out
from onnxcompress.runtime.batching import Dim
from onnxcompress.shapes.table import ShapeTable

Labels = list[Ids | None]
"""One list of atoms for each axis of a tensor; None for a fixed axis."""

Port = tuple[ir.Node, int]
"""A node and the index of one of its inputs."""


@dataclass(eq=False)
class Use:
    """A constant tensor and the atoms of its axes.

    Attributes:
        value: The constant.
        ports: Readers that share these labels; empty where every reader does.
        labels: Atoms by axis.
        blocks: Axes that each block of rows of axis 0 cuts for itself, by axis: atoms [blocks * length]. A grouped
            convolution's weight [O, C/g, ...] has g blocks on axis 1, a recurrent one a block a direction.
        linear: True for the weights of a linear op, whose norms count as importance.
    """

    value: ir.Value
    ports: list[Port]
    labels: Labels
    blocks: dict[int, Ids] = field(default_factory=dict)
    linear: bool = False

    def lists(self) -> list[Ids]:
        """Every labelled axis."""
        return [ids for ids in (*self.labels, *self.blocks.values()) if ids is not None]


@dataclass(frozen=True)
class Producer:
    """A node that makes channels: its kind (``filter`` or ``neuron``), and their atoms."""

    node: ir.Node
    kind: str
    ids: Ids


@dataclass(frozen=True)
class Term:
    """A part of a node's multiply-accumulates, proportional to the lengths of all of its axes."""

    node: ir.Node
    share: float
    axes: tuple[Ids, ...]


Rule = Callable[["Trace", ir.Node], None]


@dataclass(eq=False)
class Trace:
    """What one walk found out.

    Attributes:
        model: The traced model; not edited.
        table: Its shapes.
        rules: One rule an op type of the default domain.
        tables: Shapes inside the bodies that the walk went through.
        atoms: All atoms and their classes.
        labels: Atoms by tensor and axis.
        uses: Constants with labels.
        producers: Where channels come from.
        terms: Which axes each node's multiply-accumulates depend on.
        joints: What the labels do not tell: lists that differ from row to row.
        products: Equations between axes and the axes they are made of.
        splits: Lists that were laid out along several axes.
        pinned: Atoms whose rows may not choose for themselves, because something aligns with them.
        rows: Rows that choose for themselves, known once there are cells.
        shortened: Nodes of shuffles, which the walk has passed already.
        shortcuts: Results of shuffles, and what they take of which tensor.
        uniform: Tensors whose elements are all equal.
        statistics: Nodes that take statistics over an axis, with the axis and its atoms.
        scope: Labels of the nodes whose channels may be removed; others may lose inputs.
        excluded: Labels of the nodes that stay as they are.
    """

    model: ir.Model
    table: ShapeTable
    scope: set[str]
    excluded: set[str]
    rules: Mapping[str, Rule]
    tables: dict[ir.Graph, ShapeTable] = field(default_factory=dict)
    atoms: Atoms = field(default_factory=Atoms)
    labels: dict[ir.Value, Labels] = field(default_factory=dict)
    uses: list[Use] = field(default_factory=list)
    producers: list[Producer] = field(default_factory=list)
    terms: list[Term] = field(default_factory=list)
    joints: dict[ir.Value, tuple[Joint, ...]] = field(default_factory=dict)
    products: list[Product] = field(default_factory=list)
    splits: list[Split] = field(default_factory=list)
    pinned: list[Ids] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    shortened: set[ir.Node] = field(default_factory=set)
    shortcuts: dict[ir.Value, Pick] = field(default_factory=dict)
    uniform: set[ir.Value] = field(default_factory=set)
    statistics: dict[ir.Node, list[tuple[int, Ids]]] = field(default_factory=dict)
    constants: set[ir.Value] = field(default_factory=set)
    _shared: dict[ir.Value, Use] = field(default_factory=dict)
    _ports: dict[Port, Use] = field(default_factory=dict)

    def shape(self, value: ir.Value) -> tuple[int, ...] | None:
        """Sizes under the probe."""
        tensor = constant_tensor(value)
        return tuple(tensor.shape.numpy()) if tensor is not None else self.table_of(value).probe(value.name)

    def table_of(self, value: ir.Value) -> ShapeTable:
        """The shapes of the graph or body that a tensor lies in."""
        scope = value.graph
        return self.tables.get(scope, self.table) if isinstance(scope, ir.Graph) else self.table

    def dims(self, value: ir.Value) -> tuple[Dim, ...] | None:
        """Ints for fixed axes, symbols for free ones, None for what is not known."""
        return self.table_of(value).dims(value.name)

    def dtype(self, value: ir.Value) -> ir.DataType | None:
        """Type of the elements; None where it is not known."""
        return self.table_of(value).dtype(value.name)

    def shape_of(self, node: ir.Node, index: int) -> tuple[int, ...]:
        """Sizes of an input that is present and known."""
        value = node.inputs[index]
        assert value is not None
        sizes = self.shape(value)
        assert sizes is not None
        return sizes

    def has(self, node: ir.Node, index: int) -> bool:
        """Whether an optional input is given."""
        return index < len(node.inputs) and node.inputs[index] is not None

    def of(self, node: ir.Node, index: int) -> Labels:
        """Labels of an input; constants get theirs here."""
        value = node.inputs[index]
        assert value is not None
        if value in self.labels:
            return self.labels[value]
        if constant_tensor(value) is not None:
            return self._use(value, (node, index)).labels
        return [None] * len(self.shape(value) or ())

    def known(self, node: ir.Node, index: int) -> Labels:
        """Labels of an input as the walk left them: a constant that no rule asked about has none."""
        value = node.inputs[index]
        assert value is not None
        if value in self.labels:
            return self.labels[value]
        use = self._shared.get(value, self._ports.get((node, index)))
        return use.labels if use is not None else [None] * len(self.shape(value) or ())

    def use_of(self, node: ir.Node, index: int) -> Use | None:
        """The constant behind an input, also through DequantizeLinear, Identity and Cast."""
        value = node.inputs[index]
        port = (node, index)
        while value is not None and constant_tensor(value) is None:
            maker = value.producer()
            if maker is None or maker.op_type not in ("DequantizeLinear", "Identity", "Cast"):
                return None
            value, port = maker.inputs[0], (maker, 0)
        return None if value is None else self._use(value, port)

    def put(self, node: ir.Node, index: int, labels: Labels) -> None:
        """Set the labels of an output; a list of one position cannot be cut, so it is fixed."""
        if index >= len(node.outputs) or node.outputs[index].name == "":
            return
        settled: Labels = []
        for ids in labels:
            if ids is not None and len(ids) == 1:
                self.freeze([ids], node, "PRUNE-FROZEN-SINGLE", "a single channel is taken out of the list")
            settled.append(None if ids is None or len(ids) == 1 else ids)
        self.labels[node.outputs[index]] = settled

    def unify(self, node: ir.Node, *lists: Ids | None) -> Ids | None:
        """All lists are one; where one of them is fixed, all freeze. Returns the common list."""
        known = [ids for ids in lists if ids is not None]
        if len(known) < len(lists) or len({len(ids) for ids in known}) > 1:
            self.freeze(known, node, "PRUNE-FROZEN-PARTNER", "it meets a tensor whose axis is fixed")
            return None
        for ids in known[1:]:
            self.atoms.unify(known[0], ids)
        return known[0]

    def joints_of(self, node: ir.Node, index: int) -> tuple[Joint, ...]:
        """Lists of an input that differ from row to row."""
        value = node.inputs[index]
        return () if value is None else self.joints.get(value, ())

    def pin(self, joints: Iterable[Joint]) -> None:
        """All rows choose the same positions."""
        self.pinned.extend(joint.ids.ravel() for joint in joints)

    def divide(self, ids: np.ndarray, free: int = -1) -> tuple[Ids, ...] | None:
        """Atoms laid out along several axes: the factor atoms of each axis, or None where they overlap.

        Args:
            ids: The atoms, one dimension an axis.
            free: The dimension along which each row may choose for itself.
        """
        layout = laid_out(ids)
        if layout is None:
            return None
        lists = tuple(self.atoms.fresh(int(key.max()) + 1)[key] for key in layout.keys)
        factors = np.stack([np.broadcast_to(f, ids.shape).ravel()[layout.at] for f in np.ix_(*lists)])
        self.products.append(Product(ids.ravel()[layout.at], factors))
        self.splits.append(Split(ids, lists, free % ids.ndim))
        return lists

    def multiply(self, lists: list[Ids]) -> Ids:
        """The atoms of an axis that several labelled axes share: each position goes with any of its factors."""
        whole = self.atoms.fresh(len(lists[0]))
        self.products.append(Product(whole, np.stack(lists)))
        return whole

    def freeze(self, lists: Iterable[Ids | None], node: ir.Node | None, code: str, why: str) -> None:
        """What is on these axes must stay."""
        for ids in lists:
            if ids is not None:
                self.atoms.freeze(ids, code, "" if node is None else label(node), why)

    def produce(self, node: ir.Node, kind: str, ids: Ids | None) -> None:
        """Register channels that may be removed."""
        if ids is not None:
            self.producers.append(Producer(node, kind, ids))

    def term(self, node: ir.Node, share: float, *axes: Ids | None) -> None:
        """Register what a share of the node's multiply-accumulates is proportional to."""
        self.terms.append(Term(node, share, tuple(ids for ids in axes if ids is not None)))

    def statistic(self, node: ir.Node, labels: Labels, axes: Iterable[int]) -> None:
        """Register that the node's numbers change when one of these axes gets shorter."""
        listed = [(axis, ids) for axis in axes if (ids := labels[axis]) is not None]
        if listed:
            self.statistics[node] = listed
        self.splits.extend(Split(ids[None], (), 1) for _, ids in listed)

    def concrete(self, node: ir.Node, index: int) -> np.ndarray | None:
        """The numbers of an index-like input: constant, or observed under the probe."""
        value = node.inputs[index]
        if value is None:
            return None
        tensor = constant_tensor(value)
        return tensor.numpy() if tensor is not None else self.table_of(value).value(value.name)

    def _use(self, value: ir.Value, port: Port) -> Use:
        """Matrices are shared by all their readers (tied weights); vectors are copied for each reader that needs it."""
        sizes = self.shape(value) or ()
        if sum(size > 1 for size in sizes) > 1:
            if value not in self._shared:
                self._shared[value] = self._new_use(value, [])
            return self._shared[value]
        if port not in self._ports:
            self._ports[port] = self._new_use(value, [port])
        return self._ports[port]

    def _new_use(self, value: ir.Value, ports: list[Port]) -> Use:
        labels: Labels = [self.atoms.fresh(n) if n > 1 else None for n in self.shape(value) or ()]
        self.uses.append(Use(value, ports, labels))
        return self.uses[-1]


def constant_tensor(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The tensor behind a constant; an initializer that callers may override counts with its default."""
    if value is not None and value.is_initializer():
        return value.const_value
    node = None if value is None else value.producer()
    if node is None or node.op_type != "Constant" or value is None:
        return None
    return tensor_of(value)


def array(value: ir.Value | None) -> np.ndarray | None:
    """The numbers of a constant, overridable or not."""
    tensor = constant_tensor(value)
    return array_of(value) if tensor is None else tensor.numpy()
