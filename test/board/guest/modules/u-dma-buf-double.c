// SPDX-License-Identifier: GPL-2.0
/*
 * A double of u-dma-buf (https://github.com/ikwzm/udmabuf), for tests in QEMU: the same device file, sysfs attributes and sync requests over
 * a piece of reserved memory. No part of it comes from u-dma-buf, which boards use. QEMU has no caches, so a sync checks what it was
 * asked for, and counts.
 */
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/of.h>
#include <linux/of_address.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/version.h>

#define SYNC_FOR_CPU _IOW('U', 5, u64)
#define SYNC_FOR_DEVICE _IOW('U', 6, u64)

struct double_buffer {
	struct device *device;
	struct miscdevice file;
	const char *name;
	phys_addr_t address;
	size_t size;
	u64 sync_offset, sync_size;
	u32 sync_direction, sync_mode;
	atomic_t syncs[2];	/* for the CPU, for the device */
};

static struct class *double_class;

/* A request is 1, for the range in the attributes, or holds its range: offset << 32 | size | direction << 2 | 1. */
static int sync(struct double_buffer *buffer, int for_device, u64 request)
{
	u64 offset = buffer->sync_offset, size = buffer->sync_size;

	if (!(request & 1))
		return 0;
	if (request >> 4) {
		offset = request >> 32;
		size = request & 0xFFFFFFF0;
	}
	if (offset > buffer->size || size > buffer->size - offset)
		return -EINVAL;
	atomic_inc(&buffer->syncs[for_device]);
	return 0;
}

static long double_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	struct double_buffer *buffer = container_of(file->private_data, struct double_buffer, file);
	u64 request;

	if (command != SYNC_FOR_CPU && command != SYNC_FOR_DEVICE)
		return -ENOTTY;
	if (copy_from_user(&request, (void __user *)argument, sizeof(request)))
		return -EFAULT;
	return sync(buffer, command == SYNC_FOR_DEVICE, request);
}

/* Cached, unless the file was opened with O_SYNC or the mode says otherwise. */
static int double_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct double_buffer *buffer = container_of(file->private_data, struct double_buffer, file);
	unsigned long bytes = vma->vm_end - vma->vm_start, offset = vma->vm_pgoff << PAGE_SHIFT;

	if (offset > buffer->size || bytes > PAGE_ALIGN(buffer->size) - offset)
		return -EINVAL;
	if ((file->f_flags & O_SYNC) || buffer->sync_mode >= 5)
		vma->vm_page_prot = pgprot_writecombine(vma->vm_page_prot);
	return remap_pfn_range(vma, vma->vm_start, (buffer->address + offset) >> PAGE_SHIFT, bytes, vma->vm_page_prot);
}

static const struct file_operations double_operations = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = double_ioctl,
	.mmap = double_mmap,
};

#define SHOW(name, format, value)                                                                                \
	static ssize_t name##_show(struct device *device, struct device_attribute *attribute, char *text)            \
	{                                                                                                            \
		struct double_buffer *buffer = dev_get_drvdata(device);                                                  \
		(void)buffer;                                                                                            \
		return sysfs_emit(text, format "\n", value);                                                             \
	}
#define STORE(name, statement)                                                                                   \
	static ssize_t name##_store(struct device *device, struct device_attribute *attribute, const char *text,     \
				    size_t length)                                                                               \
	{                                                                                                            \
		struct double_buffer *buffer = dev_get_drvdata(device);                                                  \
		u64 value;                                                                                               \
		int failed = kstrtou64(text, 0, &value);                                                                 \
		if (!failed)                                                                                             \
			failed = (statement);                                                                                \
		return failed ? failed : length;                                                                         \
	}

SHOW(phys_addr, "0x%016llx", (u64)buffer->address)
SHOW(size, "%zu", buffer->size)
SHOW(driver_version, "%s", "0.0-double")
SHOW(dma_coherent, "%d", 0)
SHOW(sync_owner, "%d", 0)
SHOW(sync_mode, "%u", buffer->sync_mode)
SHOW(sync_offset, "0x%llx", buffer->sync_offset)
SHOW(sync_size, "0x%llx", buffer->sync_size)
SHOW(sync_direction, "%u", buffer->sync_direction)
SHOW(sync_for_cpu, "%d", atomic_read(&buffer->syncs[0]))
SHOW(sync_for_device, "%d", atomic_read(&buffer->syncs[1]))
STORE(sync_mode, value < 8 ? (buffer->sync_mode = value, 0) : -EINVAL)
STORE(sync_offset, (buffer->sync_offset = value, 0))
STORE(sync_size, (buffer->sync_size = value, 0))
STORE(sync_direction, value < 3 ? (buffer->sync_direction = value, 0) : -EINVAL)
STORE(sync_for_cpu, sync(buffer, 0, value))
STORE(sync_for_device, sync(buffer, 1, value))

static DEVICE_ATTR_RO(phys_addr);
static DEVICE_ATTR_RO(size);
static DEVICE_ATTR_RO(driver_version);
static DEVICE_ATTR_RO(dma_coherent);
static DEVICE_ATTR_RO(sync_owner);
static DEVICE_ATTR_RW(sync_mode);
static DEVICE_ATTR_RW(sync_offset);
static DEVICE_ATTR_RW(sync_size);
static DEVICE_ATTR_RW(sync_direction);
static DEVICE_ATTR_RW(sync_for_cpu);
static DEVICE_ATTR_RW(sync_for_device);

static struct attribute *double_attrs[] = {
	&dev_attr_phys_addr.attr, &dev_attr_size.attr, &dev_attr_driver_version.attr, &dev_attr_dma_coherent.attr,
	&dev_attr_sync_owner.attr, &dev_attr_sync_mode.attr, &dev_attr_sync_offset.attr, &dev_attr_sync_size.attr,
	&dev_attr_sync_direction.attr, &dev_attr_sync_for_cpu.attr, &dev_attr_sync_for_device.attr, NULL,
};
ATTRIBUTE_GROUPS(double);

static int double_probe(struct platform_device *platform)
{
	struct double_buffer *buffer;
	struct device_node *region;
	struct resource resource;
	int failed;

	buffer = devm_kzalloc(&platform->dev, sizeof(*buffer), GFP_KERNEL);
	if (!buffer)
		return -ENOMEM;
	region = of_parse_phandle(platform->dev.of_node, "memory-region", 0);
	if (!region || of_address_to_resource(region, 0, &resource))
		return dev_err_probe(&platform->dev, -EINVAL, "memory-region is missing\n");
	of_node_put(region);
	failed = of_property_read_string(platform->dev.of_node, "device-name", &buffer->name);
	if (failed)
		return dev_err_probe(&platform->dev, failed, "device-name is missing\n");
	buffer->address = resource.start;
	buffer->size = resource_size(&resource);
	buffer->sync_size = buffer->size;
	buffer->sync_mode = 1;
	buffer->file = (struct miscdevice){ .minor = MISC_DYNAMIC_MINOR, .name = buffer->name, .fops = &double_operations };
	failed = misc_register(&buffer->file);
	if (failed)
		return failed;
	buffer->device = device_create_with_groups(double_class, &platform->dev, MKDEV(0, 0), buffer, double_groups, "%s",
						   buffer->name);
	if (IS_ERR(buffer->device)) {
		misc_deregister(&buffer->file);
		return PTR_ERR(buffer->device);
	}
	platform_set_drvdata(platform, buffer);
	return 0;
}

static int double_remove(struct platform_device *platform)
{
	struct double_buffer *buffer = platform_get_drvdata(platform);

	device_unregister(buffer->device);
	misc_deregister(&buffer->file);
	return 0;
}

static const struct of_device_id double_match[] = { { .compatible = "beta,u-dma-buf-double" }, {} };
MODULE_DEVICE_TABLE(of, double_match);

static struct platform_driver double_driver = {
	.probe = double_probe,
	.remove = double_remove,
	.driver = { .name = "u-dma-buf-double", .of_match_table = double_match },
};

static int __init double_init(void)
{
	int failed;

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
	double_class = class_create("u-dma-buf");
#else
	double_class = class_create(THIS_MODULE, "u-dma-buf");
#endif
	if (IS_ERR(double_class))
		return PTR_ERR(double_class);
	failed = platform_driver_register(&double_driver);
	if (failed)
		class_destroy(double_class);
	return failed;
}

static void __exit double_exit(void)
{
	platform_driver_unregister(&double_driver);
	class_destroy(double_class);
}

module_init(double_init);
module_exit(double_exit);
MODULE_DESCRIPTION("Test double of u-dma-buf over reserved memory");
MODULE_LICENSE("GPL");
