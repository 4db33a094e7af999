"""Models that the conformance tests use: from 1 to 17 GiB, on a GPU of 24."""

from tests.conformance.subject import Model

EMBED = Model(name="nomic-embed-text:latest", mib=274, seed=1, embedding=True)
SMALL = tuple(Model(name=f"small-{seed}:latest", mib=1331, seed=seed) for seed in range(1, 6))
ENDLESS_A = Model(name="endless-a:latest", mib=4813, seed=21, endless=True)
ENDLESS_B = Model(name="endless-b:latest", mib=5325, seed=22, endless=True)
GIB_4_7 = Model(name="gib-4.7:latest", mib=4813, seed=11)
GIB_9_0 = Model(name="gib-9.0:latest", mib=9216, seed=12)
GIB_9_1 = Model(name="gib-9.1:latest", mib=9318, seed=13)
GIB_17 = Model(name="gib-17:latest", mib=17408, seed=14)
