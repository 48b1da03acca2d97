"""The roofline's counts against those of the layer table."""

import pytest

from ablations.nets import AlexNet
from benchmarks.roofline import DEVICES, Device, activation_bytes, flops, optimizer_bytes, table


def test_the_counts_are_those_of_the_net():
    rows = AlexNet().layer_table()
    forward = sum(row.flops for row in rows)
    work = sum(flops(row, at == 0, 2) for at, row in enumerate(rows))
    assert work == 2 * (3 * forward - rows[0].flops)
    assert sum(map(optimizer_bytes, rows)) == 20 * 60_965_224
    relu1 = rows[1]
    assert activation_bytes(relu1, False, 2) == 2 * 2 * 5 * 96 * 55 * 55


def test_a_faster_memory_helps_only_what_waits_for_it():
    rows = AlexNet().layer_table()
    h100 = DEVICES["h100"]
    endless = table(rows, 128, Device("", h100.arithmetic, 1e30))
    told = [line for line in endless if line.endswith("memory")]
    assert {line.split()[0] for line in told} == {row.name for row in rows if not row.macs} | {
        "update"
    }
    whole = sum(flops(row, at == 0, 128) for at, row in enumerate(rows)) / h100.arithmetic
    assert float(endless[-3].split()[3]) == pytest.approx(1e6 * whole, rel=1e-3)
