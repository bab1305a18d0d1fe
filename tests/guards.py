"""Takes the guards of threads, forks, signals, memory and panics out, one at a time, and looks whether the tests notice.

    python tests/guards.py [--work DIRECTORY] [words of guards to try ...]

Needs what the tests need and Rust. A copy of the tree is built once, with a switch in each place that `GUARDS` names; then each
guard is switched off for the tests that are said to need it. They must pass with all guards and fail, crash or hang without
theirs. Prints a table. A guard that is moved or reworded has to be so here, too: its text is looked for as it stands.

Where Python has its lock, the lock hides that some guards are gone. Tests that notice only with a free-threaded Python
(`PYTHON_GIL=0 python3.14t tests/guards.py`) are marked "free:", those that notice only with the lock "locked:"; they are left out
where they would not.
"""

import argparse
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent

# In the copy, `OUT` is whether the guard is switched off.
SWITCH = """
//! Whether a guard is switched off.
use std::cell::Cell;
thread_local! { static OUT: Cell<Option<&'static str>> = const { Cell::new(None) } }
/// Asks the environment, once a thread.
pub fn out(name: &str) -> bool {
    let ask = || { OUT.set(Some(String::leak(std::env::var("GUARD_OUT").unwrap_or_default()))); OUT.get() };
    OUT.get().or_else(ask) == Some(name)
}
"""

# What the guard does, its file, its text, what stands there without it, and the tests: of Rust by "rust:", else in tests/; by
# "free:" those that need a Python without its lock, by "locked:" those that need one with it.
GUARDS = [
    # Storages.
    (
        "a kernel holds the lock of its storages",
        "storage.rs",
        "let taken = if write {",
        "if OUT { return true }\nlet taken = if write {",
        [
            "test_threads.py::test_writers_of_one_large_tensor_take_turns",
            "test_threads.py::test_a_reader_sees_old_or_new_values",
            "test_threads.py::test_views_of_one_memory_are_written_in_turns",
            "rust:storage::tests::random_readers_and_writers",
            "rust:storage::tests::readers_share_and_writers_wait",
            "free:test_threads_on_one_tensor.py::test_small_writers_take_turns",
        ],
    ),
    (
        "who waits for a storage lets go of the interpreter",
        "storage.rs",
        "released(&mut || {\n",
        "(if OUT { (|body: &mut dyn FnMut()| body()) as fn(&mut dyn FnMut()) } else { released })(&mut || {\n",
        ["locked:test_threads.py::test_copies_to_and_fro", "locked:test_threads_on_one_tensor.py::test_random_programs_on_shared_tensors"],
    ),
    (
        "readers let a writer in that waits",
        "storage.rs",
        "storage.0.lock.ask_to_write();",
        "if !OUT { storage.0.lock.ask_to_write(); }",
        ["test_threads.py::test_a_writer_gets_in_between_readers"],
    ),
    (
        "storages are waited for in one order",
        "storage.rs",
        "all.sort_unstable_by_key(|(storage, write)| (Arc::as_ptr(&storage.0), !write));",
        "if !OUT { all.sort_unstable_by_key(|(storage, write)| (Arc::as_ptr(&storage.0), !write)); }",
        ["rust:storage::tests::two_that_want_the_same_two_never_wait_for_each_other"],
    ),
    (
        "who has to wait holds nothing meanwhile",
        "storage.rs",
        "drop(access);\n        Access::in_order(reads, writes)",
        "if OUT { std::mem::forget(access) } else { drop(access) }\n        Access::in_order(reads, writes)",
        ["rust:storage::tests::random_readers_and_writers"],
    ),
    (
        "a storage that is read and written is taken once",
        "storage.rs",
        "if access.held.last().is_some_and(|(before, _)| before.same(storage)) {",
        "if !OUT && access.held.last().is_some_and(|(before, _)| before.same(storage)) {",
        ["rust:storage::tests::random_readers_and_writers"],
    ),
    (
        "a kernel runs without the interpreter",
        "interpreter.rs",
        "if work >= WORTH_RELEASING =>",
        "if !OUT && work >= WORTH_RELEASING =>",
        [
            "locked:test_threads.py::test_a_kernel_lets_other_threads_run",
            "locked:test_interrupt.py::test_waiting_for_a_thread_that_computes",
        ],
    ),
    (
        "the lists of a thread end with it",
        "storage.rs",
        "for free in list.drain(..) {\n",
        "for free in list.drain(..) {\nif OUT { continue }\n",
        ["locked:test_memory.py::test_tensors_dropped_in_other_threads"],
    ),
    (
        "a thread keeps a few small buffers only",
        "storage.rs",
        "let room = list.len() < SMALL_KEPT;",
        "let room = OUT || list.len() < SMALL_KEPT;",
        ["locked:test_memory.py::test_tensors_made_in_one_thread_and_dropped_in_another"],
    ),
    (
        "large buffers are kept up to a limit",
        "storage.rs",
        "if size > LARGEST || large.bytes + size > LARGE_KEPT {",
        "if !OUT && (size > LARGEST || large.bytes + size > LARGE_KEPT) {",
        ["rust:storage::cache::tests::what_is_kept_is_limited"],
    ),
    # Tensors that change.
    (
        "who changes a tensor waits for those who read it",
        "interpreter.rs",
        "None if start.elapsed() < PATIENCE =>",
        "None if !OUT && start.elapsed() < PATIENCE =>",
        [
            "test_threads_on_one_tensor.py::test_data_waits_for_an_op_that_reads",
            "test_threads.py::test_data_is_set_while_others_compute",
        ],
    ),
    (
        "who changes a tensor stops all others",
        "interpreter.rs",
        "let mut body = Some(body);\n    // SAFETY: this thread is attached;",
        "if OUT { return body() }\nlet mut body = Some(body);\n    // SAFETY: this thread is attached;",
        [
            "free:test_threads_on_one_tensor.py::test_data_is_set_while_others_look",
            "free:test_threads_on_one_tensor.py::test_views_in_place_show_the_memory_they_were_made_for",
        ],
    ),
    (
        "data that stays the same is not assigned",
        "python/autograd.rs",
        "if x.node().is_none() && x.shows_the_same_as(&other) {",
        "if !OUT && x.node().is_none() && x.shows_the_same_as(&other) {",
        ["test_threads.py::test_data_is_changed_in_place_in_the_middle_of_an_op"],
    ),
    (
        "backward holds no tensor's object",
        "python/autograd.rs",
        "let root = slf.borrow().clone();\n        run::backward",
        "let held = slf.borrow();\n let root = held.clone();\n let _held = OUT.then_some(held);\n        run::backward",
        ["test_threads.py::test_a_hook_changes_the_tensor_that_backward_was_called_on"],
    ),
    (
        "a view in place shows the memory it was made for",
        "ops/inplace_views.rs",
        "&x.with_layout(layout))?;",
        "&if OUT { slf.borrow().with_layout(layout) } else { x.with_layout(layout) })?;",
        ["test_threads_on_one_tensor.py::test_a_view_in_place_shows_the_memory_it_was_made_for"],
    ),
    # Gradients.
    (
        "a gradient is written in the place of the one that was read",
        "tape/meta.rs",
        "let found = match (&state.grad, before) {",
        "let found = OUT || match (&state.grad, before) {",
        [
            "test_threads.py::test_gradients_of_one_leaf_add_up",
            "test_threads_on_one_tensor.py::test_a_gradient_that_changes_while_its_object_is_made[add]",
            "test_threads_on_one_tensor.py::test_a_gradient_that_changes_while_its_object_is_made[delete]",
            "test_threads.py::test_gradients_with_a_graph_add_up",
            "test_threads.py::test_retained_gradients_add_up",
            "free:test_threads_on_one_tensor.py::test_a_gradient_that_is_looked_at_still_adds_up",
            "free:test_threads_on_one_tensor.py::test_a_gradient_is_set_and_deleted_while_others_add_to_it",
        ],
    ),
    (
        "the first gradient is taken over only if nobody else has it",
        "tape/leaves.rs",
        "None if !create_graph && grad.is_unique() &&",
        "None if !create_graph && (OUT || grad.is_unique()) &&",
        ["test_autograd.py"],
    ),
    (
        "gradients add up in memory that nobody else has",
        "tape/engine.rs",
        "if !create_graph && before.is_unique() &&",
        "if !create_graph && (OUT || before.is_unique()) &&",
        ["test_autograd.py"],
    ),
    (
        "all hooks have run before the first gradient is written",
        "tape/engine.rs",
        "self.leaves.call_all_hooks()?;\n",
        "if OUT { self.leaves.write_all()?; }\nself.leaves.call_all_hooks()?;\n",
        [
            "test_memory.py::test_hooks_of_leaves_that_fail_leave_no_gradient_half_written",
            "test_memory.py::test_a_leaf_whose_object_is_gone_keeps_its_hooks",
        ],
    ),
    (
        "a leaf's gradient is not written when its own hooks have run",
        "tape/leaves.rs",
        "if wants_to_know { self.write(place) }",
        "if wants_to_know || OUT { self.write(place) }",
        ["test_memory.py::test_hooks_of_leaves_that_fail_leave_no_gradient_half_written"],
    ),
    (
        "all hooks have run before retained gradients are written",
        "tape/engine.rs",
        "self.retained.push((meta, grad.clone()));",
        "if OUT { keep_grad(&meta, grad.clone(), false).unwrap() }\nself.retained.push((meta, grad.clone()));",
        ["test_memory.py::test_hooks_that_fail_leave_no_retained_gradient", "test_hooks.py::test_a_failing_hook_writes_no_gradient"],
    ),
    # Graphs.
    (
        "nodes of all threads are numbered together",
        "tape/node.rs",
        "NEXT_ID.fetch_add(1, Ordering::Relaxed)",
        """if OUT {
        thread_local! { static MINE: std::cell::Cell<u64> = const { std::cell::Cell::new(0) } }
        MINE.set(MINE.get() + 1);
        return MINE.get();
    }
    NEXT_ID.fetch_add(1, Ordering::Relaxed)""",
        ["test_threads.py::test_graphs_are_built_differentiated_and_dropped_by_different_threads"],
    ),
    (
        "hooks are called when nothing is locked",
        "tape/engine.rs",
        "let hooks = node.any_watchers().map(|watchers| watchers.hooks.clone());\n",
        "let hooks = node.any_watchers().map(|watchers| watchers.hooks.clone());\n"
        "let _locked = if OUT { node.any_watchers() } else { None };\n",
        ["test_threads_on_one_tensor.py::test_hooks_come_and_go_while_others_differentiate"],
    ),
    (
        "a pass gives the mode back",
        "tape/engine.rs",
        "let _mode = ModeGuard::grad(self.options.create_graph);",
        "let mode = ModeGuard::grad(self.options.create_graph);\nlet _mode = if OUT { std::mem::forget(mode); None } else { Some(mode) };",
        [
            "test_memory.py::test_backward_within_a_hook",
            "test_memory.py::test_backward_within_a_function",
            "test_interrupt.py::test_a_loop_of_ops",
        ],
    ),
    (
        "a view of a view is a view of the first base",
        "tape/view.rs",
        "let base = match parent.lock().base.as_deref() {",
        "let base = match parent.lock().base.as_deref().filter(|_| !OUT) {",
        ["test_memory.py::test_deep_views"],
    ),
    (
        "the rules of a node are taken under one lock",
        "tape/engine.rs",
        "let mut rules = node.rules.lock();\n",
        """if OUT && !self.options.retain_graph && node.saves {
                let found = node.rules.lock().clone();
                std::thread::yield_now();
                *node.rules.lock() = Rules::Freed(Vec::new());
                return self.run_rules(&node, found, &grads, &mut |run, i, grad| run.send(&node.inputs[i].edge, grad));
            }
            let mut rules = node.rules.lock();\n""",
        ["rust:tape::tests::one_graph_is_freed_once"],
    ),
    (
        "a graph is freed by its backward",
        "tape/engine.rs",
        "let keep = self.options.retain_graph ||",
        "let keep = OUT || self.options.retain_graph ||",
        ["test_threads_on_one_tensor.py::test_one_graph_is_freed_once[False]", "rust:tape::tests::gradients_add_up"],
    ),
    (
        "rules read what their inputs have been given since",
        "tensor/saved.rs",
        "Some(given) if !self.tensor.fixed => self.with_data_of(given),",
        "Some(given) if !OUT && !self.tensor.fixed => self.with_data_of(given),",
        ["test_given_data.py::test_threads"],
    ),
    (
        "data that a tensor no longer has is let go of",
        "tensor/saved.rs",
        "drop(before);\n        let body",
        "if OUT { std::mem::forget(before) } else { drop(before) }\n        let body",
        ["test_given_data.py::test_memory_is_freed"],
    ),
    (
        "rules do not hold what hooks keep",
        "tape/saved.rs",
        "let exchanged = held::exchange(&rules, exchanged);",
        "let exchanged = if OUT { rules.clone() } else { held::exchange(&rules, exchanged) };",
        ["test_saved_tensors.py::test_hooks_on_a_saved_tensor_free_its_memory"],
    ),
    (
        "a node is run over what has been unpacked for it",
        "tape/engine.rs",
        "let rules = match unpacked {",
        "let rules = match if OUT { None } else { unpacked } {",
        [
            "test_threads_on_one_tensor.py::test_each_pass_reads_what_it_has_unpacked",
            "rust:tape::tests::threads_unpack_what_a_node_saved",
        ],
    ),
    (
        "a node that has been freed is not run over what was unpacked before",
        "tape/engine.rs",
        "Some(unpacked) if !matches!(rules, Rules::Freed(_)) => unpacked,",
        "Some(unpacked) if OUT || !matches!(rules, Rules::Freed(_)) => unpacked,",
        ["test_threads_on_one_tensor.py::test_one_graph_is_freed_once[True]"],
    ),
    (
        "a node is one object",
        "python/autograd/node.rs",
        'let _locked = Locked::new(LOCK.get_or_try_init(py, || new("threading", "RLock"))?.bind(py))?;',
        'let mine = new("threading", "RLock")?;\n'
        'let _locked = Locked::new(if OUT { mine.bind(py) } else { LOCK.get_or_try_init(py, || new("threading", "RLock"))?.bind(py) })?;',
        ["test_threads_on_one_tensor.py::test_a_node_is_one_object"],
    ),
    (
        "long chains of nodes and of gradients are dropped in pieces",
        "tape/chain.rs",
        "if depth >= DEPTH_LIMIT {",
        "if !OUT && depth >= DEPTH_LIMIT {",
        [
            "test_memory.py::test_a_deep_graph_is_dropped_and_differentiated_without_recursion",
            "test_memory.py::test_a_chain_of_gradients_of_gradients_is_dropped_without_recursion",
            "rust:tape::tests::long_chains_and_wide_graphs_are_dropped",
        ],
    ),
    (
        "what hooks keep for nodes is dropped in pieces, too",
        "tape/node.rs",
        "drop(self.extras.take());",
        "if !OUT { drop(self.extras.take()); }",
        ["test_memory.py::test_a_chain_of_what_nodes_keep_is_dropped_without_recursion"],
    ),
    (
        "a panic in a drop leaves its level",
        "tape/chain.rs",
        "DEPTH.set(self.0);",
        "if !(OUT && std::thread::panicking()) { DEPTH.set(self.0) }",
        ["test_panics.py::test_a_panic_while_a_graph_is_dropped_does_not_stop_later_drops"],
    ),
    (
        "a thread runs so many passes within each other",
        "tape/reach.rs",
        "if here < RUNS_ON_A_THREAD {",
        "if OUT || here < RUNS_ON_A_THREAD {",
        ["test_memory.py::test_backward_within_backward_without_end", "test_memory.py::test_backward_within_backward_many_times"],
    ),
    (
        "memory for lists is asked for",
        "storage.rs",
        "Vec::<T>::new().try_reserve_exact(count).map_err(|_| Error::Memory { bytes })",
        "if OUT { return Ok(()) }\nVec::<T>::new().try_reserve_exact(count).map_err(|_| Error::Memory { bytes })",
        ["test_memory.py::test_too_much_memory_is_an_error"],
    ),
    (
        "lists are read so deep only",
        "python/data.rs",
        "shape.len() > MAX_RANK",
        "shape.len() > (if OUT { 1 << 20 } else { MAX_RANK })",
        ["test_memory.py::test_a_list_that_contains_itself"],
    ),
    (
        "numbers that do not fill a tensor are an error",
        "tensor/mod.rs",
        "if values.len() != y.numel() {",
        "if !OUT && values.len() != y.numel() {",
        [
            "test_threads_on_one_tensor.py::test_a_list_that_changes_while_it_is_read",
            "free:test_threads_on_one_tensor.py::test_lists_that_change_while_they_are_read",
        ],
    ),
    (
        "a scan over nothing does nothing",
        "kernels/lines.rs",
        "if n * inner * outer == 0 {",
        "if !OUT && n * inner * outer == 0 {",
        ["test_memory.py::test_nothing"],
    ),
    (
        "draws from one generator take turns",
        "ops/random.rs",
        "body(&mut generator.lock())",
        "if OUT { let mut mine = generator.lock().clone(); let drawn = body(&mut mine); *generator.lock() = mine; return drawn }\n"
        "body(&mut generator.lock())",
        ["free:test_threads_on_one_tensor.py::test_random_numbers_are_drawn_once"],
    ),
    (
        "a backward leaves nothing behind",
        "tape/engine.rs",
        "let Pending { node, mut grads } = pending;",
        "let Pending { node, mut grads } = pending;\nif OUT { std::mem::forget(node.clone()) }",
        ["test_memory.py::test_training_steps", "test_memory.py::test_exceptions_in_the_middle_of_backward"],
    ),
    (
        "a graph that is dropped leaves nothing behind",
        "tape/node.rs",
        "self.inputs.clear();\n",
        "if OUT { std::mem::forget(std::mem::take(&mut self.inputs)) }\nself.inputs.clear();\n",
        ["test_memory.py::test_graphs_dropped_unfinished"],
    ),
    (
        "each thread has a mode of its own",
        "tape/mode.rs",
        """pub fn mode() -> Mode {
    MODE.get()
}

/// Sets this thread's mode and returns the one before.
pub fn set_mode(mode: Mode) -> Mode {
    MODE.replace(mode)
}""",
        """pub fn mode() -> Mode {
    if OUT { ALL.lock().unwrap().unwrap_or(MODE.get()) } else { MODE.get() }
}

static ALL: std::sync::Mutex<Option<Mode>> = std::sync::Mutex::new(None);

/// Sets this thread's mode and returns the one before.
pub fn set_mode(mode: Mode) -> Mode {
    if OUT {
        let before = self::mode();
        *ALL.lock().unwrap() = Some(mode);
        return before;
    }
    MODE.replace(mode)
}""",
        ["test_threads.py::test_modes_belong_to_their_thread"],
    ),
    # What is dropped runs code of the user's.
    (
        "an assigned gradient is dropped unlocked",
        "python/autograd.rs",
        "let before = x.meta_or_new().lock().grad.replace(Grad::Object(Arc::new(PyGrad(grad.clone().unbind()))));",
        "if OUT { drop(x.meta_or_new().lock().grad.replace(Grad::Object(Arc::new(PyGrad(grad.clone().unbind()))))); return Ok(()) }\n"
        "let before = x.meta_or_new().lock().grad.replace(Grad::Object(Arc::new(PyGrad(grad.clone().unbind()))));",
        ["test_memory.py::test_code_that_runs_when_something_is_dropped_finds_nothing_locked[replaced_gradient]"],
    ),
    (
        "a deleted gradient is dropped unlocked",
        "python/autograd.rs",
        "let before = x.meta().and_then(|meta| meta.lock().grad.take());",
        "let before = x.meta().and_then(|meta| { let mut state = meta.lock(); let old = state.grad.take(); "
        "if OUT { drop(old); None } else { old } });",
        ["test_memory.py::test_code_that_runs_when_something_is_dropped_finds_nothing_locked[deleted_gradient]"],
    ),
    (
        "hooks of a leaf are dropped unlocked",
        "python/autograd/hooks.rs",
        "let _removed = meta.lock().node_hooks.as_mut().map(|hooks| hooks.remove(self.id));",
        "if OUT { let mut state = meta.lock(); drop(state.node_hooks.as_mut().map(|hooks| hooks.remove(self.id))); return Ok(()) }\n"
        "let _removed = meta.lock().node_hooks.as_mut().map(|hooks| hooks.remove(self.id));",
        ["test_memory.py::test_code_that_runs_when_something_is_dropped_finds_nothing_locked[hook_on_the_end_of_a_leaf_removed]"],
    ),
    (
        "hooks of a node are dropped unlocked",
        "python/autograd/hooks.rs",
        "let _removed = node.extras.get().map(|extras| extras.node_hooks.lock().remove(self.id));",
        "if OUT { if let Some(extras) = node.extras.get() { let mut all = extras.node_hooks.lock(); drop(all.remove(self.id)); } "
        "return Ok(()) }\n"
        "let _removed = node.extras.get().map(|extras| extras.node_hooks.lock().remove(self.id));",
        ["test_memory.py::test_code_that_runs_when_something_is_dropped_finds_nothing_locked[hook_on_the_node_removed]"],
    ),
    (
        "a packed tensor is dropped unlocked",
        "tape/saved.rs",
        "let packed = node.extras.get().map(|extras| std::mem::take(",
        "if OUT && let Some(extras) = node.extras.get() { extras.packed.lock().clear() }\n"
        "let packed = node.extras.get().map(|extras| std::mem::take(",
        ["test_memory.py::test_code_that_runs_when_something_is_dropped_finds_nothing_locked[saved_tensor_packed]"],
    ),
    (
        "callbacks that are not called are dropped outside of the list of runs",
        "tape/reach.rs",
        "let ended = RUNS.with(|runs| runs.borrow_mut().pop());",
        "if OUT { RUNS.with(|runs| { let mut runs = runs.borrow_mut(); drop(runs.pop()); }); return }\n"
        "let ended = RUNS.with(|runs| runs.borrow_mut().pop());",
        ["test_memory.py::test_code_that_runs_when_something_is_dropped_finds_nothing_locked[callback_not_called]"],
    ),
    (
        "memory that a tensor no longer shows is dropped when the tensor is free",
        "interpreter.rs",
        "old = x.try_borrow_mut().ok().map(|mut x| x.set_data(new))",
        "old = x.try_borrow_mut().ok().map(|mut x| if OUT { drop(x.set_data(new)); new.clone() } else { x.set_data(new) })",
        ["test_memory.py::test_code_that_runs_when_something_is_dropped_finds_nothing_locked[data_replaced]"],
    ),
    # The garbage collector.
    (
        "the collector is told of hooks",
        "python/garbage.rs",
        "for (_, object) in &hooks.objects {\n",
        "for (_, object) in &hooks.objects {\nif OUT { break }\n",
        ["test_memory.py::test_a_cycle_is_collected[hook_of_a_node]"],
    ),
    (
        "the collector is told of the dicts of hooks",
        "python/garbage.rs",
        "    hooks.object.downcast_ref::<Py<PyDict>>().map_or(Ok(()), |dict| visit.call(dict))\n",
        "    if OUT { return Ok(()) }\n    hooks.object.downcast_ref::<Py<PyDict>>().map_or(Ok(()), |dict| visit.call(dict))\n",
        [
            "test_memory.py::test_a_cycle_is_collected[leaf_hook]",
            "test_memory.py::test_a_cycle_is_collected[hook_of_a_computed_tensor]",
            "test_memory.py::test_a_cycle_is_collected[hook_after_accumulation]",
        ],
    ),
    (
        "the collector is told of the gradient",
        "python/garbage.rs",
        "visit.call(&grad.0)?;",
        "if !OUT { visit.call(&grad.0)?; }",
        ["test_memory.py::test_a_cycle_is_collected[attribute_of_the_gradient]"],
    ),
    (
        "a place on the tape that others hold, too, is not told of",
        "python/garbage.rs",
        "x.own_places().0.filter(|meta| Arc::strong_count(meta) == 1)",
        "x.own_places().0.filter(|meta| OUT || Arc::strong_count(meta) == 1)",
        ["test_memory.py::test_hooks_that_a_view_still_needs_outlive_their_tensor"],
    ),
    (
        "a node that others hold, too, is not told of",
        "python/garbage.rs",
        "(Arc::strong_count(&node) == held).then_some(node)",
        "(OUT || Arc::strong_count(&node) == held).then_some(node)",
        ["test_memory.py::test_what_the_graph_still_needs_is_not_collected"],
    ),
    (
        "a body that other handles hold, too, is not told of",
        "tensor/mod.rs",
        "if Arc::strong_count(&self.body) > 1 {\n            return (None, None);",
        "if !OUT && Arc::strong_count(&self.body) > 1 {\n            return (None, None);",
        ["test_memory.py::test_hooks_that_another_object_needs_outlive_their_tensor"],
    ),
    (
        "a tensor in a cycle lets go of what it holds",
        "python/garbage.rs",
        "fn __clear__(&self) {\n        let node",
        "fn __clear__(&self) {\nif OUT { return }\n        let node",
        [
            "test_memory.py::test_a_cycle_is_collected[leaf_hook_that_cannot_be_cleared]",
            "test_memory.py::test_a_cycle_is_collected[hook_of_a_node_that_cannot_be_cleared]",
        ],
    ),
    (
        "a tensor tells what its node keeps",
        "python/garbage.rs",
        "Some(node) => visit_node(&node, &visit),",
        "Some(_) if OUT => Ok(()),\nSome(node) => visit_node(&node, &visit),",
        [
            f"test_memory.py::test_a_cycle_is_collected[{cycle}]"
            for cycle in ("context_that_holds_its_output", "context_that_holds_its_output_after_backward")
        ],
    ),
    (
        "the object of a node tells what the node keeps",
        "python/garbage.rs",
        "if let Some(dict) = self.leaf_metadata() {",
        "if OUT { return Ok(()) }\nif let Some(dict) = self.leaf_metadata() {",
        [
            f"test_memory.py::test_a_cycle_is_collected[{cycle}]"
            for cycle in (
                "hook_that_holds_its_node",
                "hook_of_a_node_that_holds_it",
                "hook_of_the_end_of_the_tape",
                "what_the_user_keeps_with_a_node",
                "context_that_holds_its_node",
            )
        ],
    ),
    (
        "the object of a node that others hold, too, tells nothing",
        "python/garbage.rs",
        "Some(node) if Arc::strong_count(node) == 1 => visit_node(node, &visit),",
        "Some(node) if OUT || Arc::strong_count(node) == 1 => visit_node(node, &visit),",
        ["test_memory.py::test_what_a_node_keeps_is_not_collected_as_long_as_the_graph_needs_it"],
    ),
    (
        "the collector sees no tensor that is still being made",
        "python/garbage.rs",
        "if self.is_blank() {",
        "if !OUT && self.is_blank() {",
        ["test_memory.py::test_collections_at_every_turn"],
    ),
    # Signals.
    (
        "who waits to change a tensor looks for signals",
        "interpreter.rs",
        "x.py().check_signals()?;",
        "if !OUT { x.py().check_signals()?; }",
        ["test_interrupt.py::test_waiting_for_a_tensor_that_is_being_read"],
    ),
    (
        "backward looks for signals",
        "tape/engine.rs",
        "crate::interpreter::check_signals()?;",
        "if !OUT { crate::interpreter::check_signals()?; }",
        [
            "test_interrupt.py::test_a_long_backward",
            "test_interrupt.py::test_a_backward_of_large_kernels",
            "test_interrupt.py::test_a_handler_of_the_users_own",
        ],
    ),
    # Forks.
    (
        "a lock of the parent is free in a child",
        "fork.rs",
        "if word & GENERATION == generation() { word & !GENERATION } else { 0 }",
        "if OUT || word & GENERATION == generation() { word & !GENERATION } else { 0 }",
        [
            "test_processes.py::test_a_fork_while_a_thread_is_within_a_kernel",
            "test_processes.py::test_a_fork_while_a_thread_draws_random_numbers",
            "rust:storage::cache::tests::a_child_may_use_the_cache",
            "test_processes.py::test_multiprocessing",
        ],
    ),
    (
        "nobody is within the lists of the cache during a fork",
        "fork.rs",
        "crate::storage::hold_cache();",
        "if !OUT { crate::storage::hold_cache(); }",
        ["rust:storage::cache::tests::a_fork_waits_for_whoever_is_within_the_lists"],
    ),
    (
        "the parent goes on using the cache",
        "fork.rs",
        "crate::storage::release_cache();",
        "if !OUT { crate::storage::release_cache(); }",
        ["rust:storage::cache::tests::a_child_may_use_the_cache", "test_processes.py::test_the_thread_pool_after_fork"],
    ),
    (
        "no lock of the tape is held while gradients are added up",
        "tape/leaves.rs",
        "let _mode = ModeGuard::grad(false);",
        "let _mode = ModeGuard::grad(false);\n                let _locked = OUT.then(|| meta.lock());",
        ["test_processes.py::test_a_fork_while_a_thread_differentiates"],
    ),
    (
        "a child starts workers of its own",
        "kernels/par.rs",
        "&& pool.process == process",
        "&& (OUT || pool.process == process)",
        ["test_processes.py::test_the_thread_pool_after_fork"],
    ),
    # The parallel loop.
    (
        "the caller waits for what workers have begun",
        "kernels/par.rs",
        "while self.finished.0.load(Ordering::Acquire) < pieces {",
        "while !OUT && self.finished.0.load(Ordering::Acquire) < pieces {",
        ["rust:kernels::par::tests::slow_workers_are_waited_for", "test_threads.py::test_backward_side_by_side_on_shared_weights"],
    ),
    (
        "one loop at a time has the workers",
        "kernels/par.rs",
        "self.crew.try_lock().ok()",
        "if OUT { return self.crew.lock().ok() }\nself.crew.try_lock().ok()",
        ["rust:kernels::par::tests::nested_loops_and_several_callers"],
    ),
    # Panics.
    (
        "a panic is a RuntimeError",
        "python/panics.rs",
        "let class = py.get_type::<PanicException>();\n",
        "let class = py.get_type::<PanicException>();\nif OUT { return Ok(()) }\n",
        [
            "test_panics.py::test_a_panic_is_a_runtime_error[here]",
            "test_panics.py::test_a_panic_within_backward_passes_the_hook_and_the_engine",
            "test_panics.py::test_a_panic_in_drop_is_reported_and_survived",
        ],
    ),
    (
        "a panic takes the way back to the interpreter",
        "python/interpreter.rs",
        "RELEASED.set(false);\n",
        "if OUT && std::thread::panicking() { return }\nRELEASED.set(false);\n",
        ["test_panics.py::test_a_panic_is_a_runtime_error[kernel]"],
    ),
    (
        "a panic in a worker is handed to the caller",
        "kernels/par.rs",
        "if let Err(cause) = catch_unwind(AssertUnwindSafe(|| work.run_piece(piece))) {",
        "if OUT { work.run_piece(piece) } else if let Err(cause) = catch_unwind(AssertUnwindSafe(|| work.run_piece(piece))) {",
        ["test_panics.py::test_a_panic_is_a_runtime_error[worker]", "rust:kernels::par::tests::panics_reach_the_caller"],
    ),
    (
        "a panic in the caller waits for the workers",
        "kernels/par.rs",
        "let mine = catch_unwind(AssertUnwindSafe(|| self.work_as_caller(&mut crew, work)));",
        "let mine = if OUT { self.work_as_caller(&mut crew, work); Ok(()) } else "
        "{ catch_unwind(AssertUnwindSafe(|| self.work_as_caller(&mut crew, work))) };",
        ["rust:kernels::par::tests::panics_reach_the_caller"],
    ),
    (
        "a panic in the caller takes the rest of the loop away",
        "kernels/par.rs",
        "if mine.is_err() {\n",
        "if mine.is_err() && !OUT {\n",
        ["rust:kernels::par::tests::panics_reach_the_caller"],
    ),
    (
        "a function form catches panics",
        "python/function.rs",
        "let result = catch_unwind(AssertUnwindSafe(|| call_with_keywords(py, function, args, count, kwnames)));",
        "let result = if OUT { Ok(call_with_keywords(py, function, args, count, kwnames)) } else "
        "{ catch_unwind(AssertUnwindSafe(|| call_with_keywords(py, function, args, count, kwnames))) };",
        ["test_panics.py::test_a_panic_below_a_function_form"],
    ),
    # What processors of x86 do of themselves, and others do not.
    (
        "who takes a lock sees what was done under it",
        "fork.rs",
        "generation() | after, Ordering::Acquire, Ordering::Relaxed",
        "generation() | after, if OUT { Ordering::Relaxed } else { Ordering::Acquire }, Ordering::Relaxed",
        ["rust:storage::tests::random_readers_and_writers", "rust:tape::tests::threads_read_and_write_one_tensor"],
    ),
    (
        "the end of a reading comes after what was read",
        "fork.rs",
        "self.0.fetch_sub(1, Ordering::Release);",
        "self.0.fetch_sub(1, if OUT { Ordering::Relaxed } else { Ordering::Release });",
        ["rust:storage::tests::random_readers_and_writers"],
    ),
    (
        "the end of a writing comes after what was written",
        "fork.rs",
        "self.0.store(generation(), Ordering::Release);",
        "self.0.store(generation(), if OUT { Ordering::Relaxed } else { Ordering::Release });",
        ["rust:storage::tests::random_readers_and_writers", "rust:fork::tests::a_mutex_excludes"],
    ),
    (
        "a loop ends after what its workers wrote",
        "kernels/par.rs",
        "self.finished.0.fetch_add(1, Ordering::Release);",
        "self.finished.0.fetch_add(1, if OUT { Ordering::Relaxed } else { Ordering::Release });",
        ["rust:kernels::par::tests::what_workers_write_is_seen"],
    ),
]


def fill(tree):
    """Copies what is in the repository, with a switch in each place; leaves files alone that stay as they are."""
    names = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True).splitlines()
    files = {name: (ROOT / name).read_bytes() for name in names if (ROOT / name).is_file()}
    files["src/lib.rs"] += b"pub mod guards;\n"
    files["src/guards.rs"] = SWITCH.encode()
    for guard, file, old, new, _ in GUARDS:
        text = files[f"src/{file}"].decode()
        if text.count(old) != 1:
            raise SystemExit(f"{guard}: {text.count(old)} times in {file}: {old}")
        files[f"src/{file}"] = text.replace(old, new.replace("OUT", f'crate::guards::out("{guard}")')).encode()
    for name, contents in files.items():
        path = tree / name
        if not path.exists() or path.read_bytes() != contents:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(contents)
    for path in (tree / "src").rglob("*.rs"):
        if path.relative_to(tree).as_posix() not in files:
            path.unlink()


def build_extension(tree, work):
    """In place."""
    # As maturin does, so that no library of Python is needed.
    cargo(tree, work / "target", "build", "--release", "--lib", PYO3_BUILD_EXTENSION_MODULE="1")
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    shutil.copy(work / "target" / "release" / "libferrograd.so", tree / "python" / "ferrograd" / ("_C" + suffix))


def build_tests(tree, work):
    """The program of the Rust tests: with ThreadSanitizer, if there is one."""
    host = next(line for line in subprocess.check_output(["rustc", "-vV"], text=True).split("\n") if line.startswith("host: "))
    host = host.removeprefix("host: ")
    root = pathlib.Path(subprocess.check_output(["rustc", "--print", "sysroot"], text=True).strip())
    flags = {}
    if list(root.glob(f"lib/rustlib/{host}/lib/librustc-*tsan.a")):
        flags = {"RUSTC_BOOTSTRAP": "1", "RUSTFLAGS": "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer"}
    told = cargo(tree, work / "tests", "test", "--lib", "--no-run", "--target", host, **flags)
    return tree / told[told.rindex("(") + 1 : told.rindex(")")]


def cargo(tree, target, *arguments, **env):
    """Runs it, for builds that are soon done; answers what it says."""
    fast = {"LTO": "off", "CODEGEN_UNITS": "16", "STRIP": "none", "DEBUG": "1"}
    env = os.environ | {f"CARGO_PROFILE_RELEASE_{key}": value for key, value in fast.items()} | env | {"CARGO_TARGET_DIR": str(target)}
    env.setdefault("PYO3_PYTHON", sys.executable)
    result = subprocess.run(["cargo", *arguments, "--locked"], cwd=tree, env=env, stderr=subprocess.PIPE, text=True)
    if result.returncode:
        raise SystemExit(result.stderr)
    return result.stderr


def run(tree, program, test, out, patience):
    """How a test ends, and after how many seconds, and what it says."""
    env = os.environ | {"GUARD_OUT": out, "PYTHONPATH": str(tree / "python"), "CI": ""}
    env["TSAN_OPTIONS"] = f"suppressions={ROOT / '.ci' / 'thread_sanitizer.txt'} die_after_fork=0 allocator_may_return_null=1 exitcode=0"
    rust = test.startswith("rust:")
    if rust:
        command = [program, "--test-threads=1", "--exact", test.removeprefix("rust:")]
    else:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(tree / "tests" / test)]
    start = time.monotonic()
    with subprocess.Popen(
        command, env=env, cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        try:
            told, _ = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return "hangs", patience, ""
    if rust and "running 1 test" not in told:
        raise SystemExit(f"no such test: {test}")
    ends = {0: "passes", 1: "fails", 101: "fails"}
    end = ends.get(code := process.returncode) or f"crashes ({signal.Signals(-code).name if code < 0 else code})"
    if "WARNING: ThreadSanitizer: data race" in told:
        end = "data race" if end == "passes" else f"{end}, data race"
    return end, time.monotonic() - start, told


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, help="where to copy and build; kept for the next time")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("words", nargs="*")
    arguments = parser.parse_args()
    work = arguments.work or pathlib.Path(tempfile.mkdtemp())
    tree = work / "tree"
    fill(tree)
    chosen = [guard for guard in GUARDS if all(word in guard[0] for word in arguments.words)]
    rust = any(test.startswith("rust:") for guard in chosen for test in guard[-1])
    program = build_tests(tree, work) if rust else None
    build_extension(tree, work)
    locked = getattr(sys, "_is_gil_enabled", lambda: True)()
    times, bad = {}, 0
    print("| guard | in src/ | test | without it |\n|---|---|---|---|")
    for name, file, _, _, tests in chosen:
        for test in tests:
            row, (kind, _, rest) = f"| {name} | `{file}` | `{test}` |", test.partition(":")
            if kind in ("free", "locked"):
                test = rest
                if locked != (kind == "locked"):
                    print(row, "not with this Python |", flush=True)
                    continue
            if test not in times:
                end, times[test], told = run(tree, program, test, "", 600)
                if end != "passes":
                    raise SystemExit(f"{test} {end} with all guards\n{told}")
            end, _, told = run(tree, program, test, name, 20 + 10 * times[test])
            bad += end == "passes"
            print(row, end if end != "passes" else "**passes**", "|", flush=True)
            if arguments.verbose:
                print(told[-2000:], flush=True)
    if not arguments.work:
        shutil.rmtree(work)
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
