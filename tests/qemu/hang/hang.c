// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Threads that never go on, in the sections of a module that one load address gets wrong: .text, .text.unlikely and, once
 * `rmmod hang` is tried, .exit.text. hang_state and hang_count are for a debugger to read. For throw-away machines only.
 */
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched.h>

char hang_state[32] = "loading"; /* .data */
int hang_count;                  /* .bss */

static noinline void hang_forever(void)
{
	for (;;) {
		set_current_state(TASK_UNINTERRUPTIBLE);
		schedule();
	}
}

/* __cold puts a whole function into .text.unlikely. */
static noinline __cold int hang_cold(int n)
{
	hang_forever();
	return READ_ONCE(hang_count) + n;
}

/* Inlined into each other: one address with three source lines. */
static __always_inline int hang_inner(int n)
{
	if (n == 0)
		hang_forever();
	else
		hang_cold(n);
	return READ_ONCE(hang_count);
}

static __always_inline int hang_outer(int n)
{
	return hang_inner(n) + 1;
}

static noinline int hang_host(int n)
{
	int r = hang_outer(n);

	return r + READ_ONCE(hang_count);
}

static int hang_thread(void *n)
{
	return hang_host((long)n) + READ_ONCE(hang_count);
}

static noinline int __exit hang_in_exit(void)
{
	hang_forever();
	return READ_ONCE(hang_count);
}

static int __init hang_init(void)
{
	kthread_run(hang_thread, (void *)0L, "hang/text");
	kthread_run(hang_thread, (void *)1L, "hang/cold");
	hang_count = 4711;
	strcpy(hang_state, "hung");
	return 0;
}

static void __exit hang_exit(void)
{
	hang_count += hang_in_exit();
}

module_init(hang_init);
module_exit(hang_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("hangs in .text, .text.unlikely and .exit.text");
