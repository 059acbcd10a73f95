"""What the transitions of the state machine are drawn from: few names, odd ones, and times that collide."""

from hypothesis import strategies as st

from tests.model.harness import WORKERS
from tests.model.records import SEPARATOR
from tests.model.state import StartOptions

IDS = ("a", "a:1", "a*", "ü/✓", '1f"\\')
TASKS = ("task", "task:2")
STEPS = ("n", "n:1", "#1")
TRIED = ("try", "try*")
CHILDREN = ("c", "=c", "c/✓", "[c]")
WAITED = ("e", "e?", "ü,1")
TIMED = ("1.1", "2.1")
CHANNELS = ("m", "m m", "m:1")
RULES = ("aa", "bb", "cc")
CODES = ("old", "new")
PATTERNS = ("*", "?", "n*", "c", "e?", "[c]", "*✓")

ids = st.sampled_from(IDS[:2]) | st.sampled_from(IDS)
values = st.sampled_from((b"", b"1", b"\x00\xff"))
durations = st.sampled_from((0, 1, 10, 1000, 60_000))
maybe = st.none() | durations
which = st.integers(0, 9)
twice = st.booleans()
workers = st.just("w1") | st.sampled_from(WORKERS)
counters = st.sampled_from(((), (), ("one",), ("two",), ("two\x1fkey", "one"), ("one", "two")))
start_options = st.just(StartOptions()) | st.builds(
    StartOptions,
    st.sampled_from(("", "return", "replace", "replace")),
    st.sampled_from(("", "return", "raise")),
    maybe,
    maybe,
    durations,
    st.sampled_from(("", "a", "b")),
)
patterns = st.lists(st.sampled_from(PATTERNS), max_size=2)
groups = st.sampled_from("12")
children = st.sets(st.sampled_from(CHILDREN), min_size=1, max_size=2)
waits = st.one_of(
    st.tuples(st.just("s"), st.sampled_from(WAITED[:2]), durations.map(str)),
    st.tuples(st.just("s"), st.sampled_from(WAITED[:2]), st.sampled_from(("@-10", "@0", "@10", "@1000"))),
    st.tuples(st.just("w"), st.sampled_from(WAITED), st.just("") | durations.map(str)),
    st.tuples(
        st.just("m"),
        st.sampled_from(WAITED + STEPS[:1]),
        st.builds(SEPARATOR.join, st.tuples(st.just("") | durations.map(str), st.sampled_from(CHANNELS))),
    ),
    st.tuples(st.just("t"), st.sampled_from(TIMED), st.sampled_from(("@-10", "@0", "@10", "@1000"))),
    st.tuples(st.just("a"), st.sampled_from(TRIED), st.just("")),
    st.tuples(st.just("p"), st.sampled_from(RULES), st.just("")),
)
