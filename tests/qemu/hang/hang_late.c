// SPDX-License-Identifier: MIT OR Apache-2.0
/* Hangs while it is loaded, so that frames lie in .init.text, which is gone once a module is up. For throw-away machines only. */
#include <linux/module.h>
#include <linux/sched.h>

static int late_zero;

static noinline int __init late_inner(void)
{
	for (;;) {
		set_current_state(TASK_UNINTERRUPTIBLE);
		schedule();
	}
	return READ_ONCE(late_zero);
}

static int __init late_init(void)
{
	return late_inner() + READ_ONCE(late_zero);
}

static void __exit late_exit(void)
{
}

module_init(late_init);
module_exit(late_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("hangs in .init.text");
