// SPDX-License-Identifier: GPL-2.0
/* A stand-in for NVIDIA's open module: it takes QEMU's test device for a GPU, and says its version where that one does. */
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>

static const struct pci_device_id gpus[] = { { PCI_DEVICE(0x1b36, 0x0005) }, {} };

static int show(struct seq_file *file, void *data)
{
	seq_puts(file, "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  " VERSION "  Stand-in\n");
	return 0;
}

static int __init start(void)
{
	proc_mkdir("driver/nvidia", NULL);
	return proc_create_single("driver/nvidia/version", 0444, NULL, show) ? 0 : -ENOMEM;
}

static void __exit end(void)
{
	remove_proc_subtree("driver/nvidia", NULL);
}

module_init(start);
module_exit(end);
MODULE_DEVICE_TABLE(pci, gpus);
MODULE_DESCRIPTION("a stand-in");
MODULE_VERSION(VERSION);
MODULE_LICENSE("Dual MIT/GPL");
