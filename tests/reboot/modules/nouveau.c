// SPDX-License-Identifier: GPL-2.0
/* A stand-in for nouveau: it takes QEMU's test device for a GPU, and stays in use as by a console. */
#include <linux/module.h>
#include <linux/pci.h>

static const struct pci_device_id gpus[] = { { PCI_DEVICE(0x1b36, 0x0005) }, {} };

static int __init start(void)
{
	__module_get(THIS_MODULE);
	return 0;
}

module_init(start);
MODULE_DEVICE_TABLE(pci, gpus);
MODULE_DESCRIPTION("a stand-in");
MODULE_LICENSE("GPL");
