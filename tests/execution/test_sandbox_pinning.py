"""Memory that forks copy: in processes of their own, as it stays pinned."""

import pytest
from conftest import Run, interpret

PAGES = 200
START = f"""
import ctypes, mmap, os, resource
from sandbox import pinning
size = {PAGES} * pinning._PAGE
memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_NOHUGEPAGE)
memory.write(b"x" * size)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
def written(spans):
    pages = (start + offset for start, size in spans for offset in range(0, size, pinning._PAGE))
    return [(page - address) // pinning._PAGE for page in pages if 0 <= page - address < size]
"""
FAULTS = """
pid = os.fork()
if pid == 0:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for page in range(0, size, pinning._PAGE):
        memory[page] = 1
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, flush=True)
    os._exit(0)
os.wait()
"""


def python(text: str) -> str:
    return interpret(START + text)


@pytest.fixture(scope="module")
def can_pin() -> None:
    if int(python("print(pinning.pin([(address, size)]))")) == 0:
        pytest.skip("this system pins no memory: no io_uring, or a low limit of locked memory")


def test_a_fork_copies_pinned_memory(can_pin: None) -> None:
    assert int(python(FAULTS)) >= PAGES
    assert int(python("assert pinning.pin([(address, size)]) == size" + FAULTS)) < PAGES / 4


def test_memory_copied_since_a_fork_is_found() -> None:
    fork = """
ready, done = os.pipe(), os.pipe()
if os.fork() == 0:
    memory[7 * pinning._PAGE] = memory[8 * pinning._PAGE] = memory[50 * pinning._PAGE] = 1
    os.write(ready[1], b"x")
    os.read(done[0], 1)
    os._exit(0)
os.read(ready[0], 1)
print(written(pinning.own_memory()[0]))
os.write(done[1], b"x")
os.wait()
print(len(written(pinning.own_memory()[0])))
"""
    assert python(fork).splitlines() == ["[7, 8, 50]", str(PAGES)]


def test_data_of_a_library_is_told_from_other_memory() -> None:
    find = """
here = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_Py_NoneStruct"))
print([any(start <= here < start + size for start, size in spans) for spans in pinning.own_memory()])
"""
    assert python(find) == "[False, True]"


def test_without_the_right_to_lock_memory_nothing_is_pinned() -> None:
    limit = "resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))\n"
    user = "if os.geteuid() == 0: os.setresuid(65534, 65534, 65534)\n"  # root's processes may lock what they like
    assert python(limit + user + "print(pinning.pin([(address, size)]))") == "0"


def test_what_can_not_be_pinned_leaves_no_descriptor(can_pin: None) -> None:
    text = "before = os.listdir('/proc/self/fd')\nassert pinning.pin([(4096, 4096)]) == 0\n"
    assert python(text + "print(before == os.listdir('/proc/self/fd'))") == "True"


def test_a_candidate_has_few_faults(can_pin: None, run: Run) -> None:
    program = "import resource\ndef f(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt"
    assert run(program, "assert f() < 120").passed  # without pinned pages it has some 240
