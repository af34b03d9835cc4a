// SPDX-License-Identifier: GPL-2.0
/*
 * Inline functions and macros of the USB core, made callable from Rust.
 */
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/usb.h>

#include "usb.h"

#define CREATE_TRACE_POINTS
#include "usb_trace.h"

/*
 * Looks for an endpoint of the direction in the current setting of the interface:
 * the first bulk endpoint, or else the first interrupt endpoint. One that says it
 * transfers nothing is passed over.
 */
bool virgo_usb_find_endpoint(const struct usb_interface *intf, bool in,
			     struct virgo_usb_endpoint *found)
{
	const struct usb_host_interface *setting = intf->cur_altsetting;
	const struct usb_endpoint_descriptor *best = NULL;
	int i;

	for (i = 0; i < setting->desc.bNumEndpoints; i++) {
		const struct usb_endpoint_descriptor *desc = &setting->endpoint[i].desc;

		if (usb_endpoint_dir_in(desc) != in || !usb_endpoint_maxp(desc))
			continue;
		if (usb_endpoint_xfer_bulk(desc)) {
			best = desc;
			break;
		}
		if (!best && usb_endpoint_xfer_int(desc))
			best = desc;
	}
	if (!best)
		return false;
	found->address = best->bEndpointAddress;
	found->interval = best->bInterval;
	found->interrupt = usb_endpoint_xfer_int(best);
	found->max_packet = usb_endpoint_maxp(best);
	if (found->interrupt)
		found->max_packet *= usb_endpoint_maxp_mult(best);
	return true;
}

static unsigned int virgo_usb_pipe(struct usb_device *dev, const struct virgo_usb_endpoint *ep)
{
	bool in = ep->address & USB_DIR_IN;
	u8 number = ep->address & USB_ENDPOINT_NUMBER_MASK;

	if (ep->interrupt)
		return in ? usb_rcvintpipe(dev, number) : usb_sndintpipe(dev, number);
	return in ? usb_rcvbulkpipe(dev, number) : usb_sndbulkpipe(dev, number);
}

void virgo_usb_fill(struct urb *urb, struct usb_device *dev, const struct virgo_usb_endpoint *ep,
		    void *buffer, u32 len, usb_complete_t complete, void *context)
{
	unsigned int pipe = virgo_usb_pipe(dev, ep);

	if (ep->interrupt)
		usb_fill_int_urb(urb, dev, pipe, buffer, len, complete, context, ep->interval);
	else
		usb_fill_bulk_urb(urb, dev, pipe, buffer, len, complete, context);
}

/* Ends a stall. Sleeps, for at most the time that a control transfer may take. */
int virgo_usb_clear_halt(struct usb_device *dev, const struct virgo_usb_endpoint *ep)
{
	return usb_clear_halt(dev, virgo_usb_pipe(dev, ep));
}

/* Returns the address of the device on its bus. */
int virgo_usb_number(const struct usb_device *dev, u16 *bus)
{
	*bus = dev->bus->busnum;
	return dev->devnum;
}

u8 virgo_usb_interface_number(const struct usb_interface *intf)
{
	return intf->altsetting[0].desc.bInterfaceNumber;
}

/* The interface whose device file is being opened, which cannot be unbound meanwhile. */
struct usb_interface *virgo_usb_opened(struct usb_driver *driver, const struct inode *inode)
{
	return usb_find_interface(driver, iminor(inode));
}

/* Whether the module whose device file is being opened has finished its initialisation. */
bool virgo_usb_owner_is_live(const struct file *file)
{
	return file->f_op->owner->state == MODULE_STATE_LIVE;
}

int virgo_usb_mutex_lock(struct mutex *mutex)
{
	return mutex_lock_interruptible(mutex);
}

bool virgo_usb_mutex_trylock(struct mutex *mutex)
{
	return mutex_trylock(mutex);
}

void virgo_usb_mutex_unlock(struct mutex *mutex)
{
	mutex_unlock(mutex);
}

void virgo_usb_trace(enum virgo_usb_stage stage, const struct usb_device *dev, u8 endpoint,
		     const void *data, u32 len, int status)
{
	switch (stage) {
	case VIRGO_USB_PROBE:
		trace_umb_probe(dev, endpoint, data, len, status);
		break;
	case VIRGO_USB_COPY:
		trace_umb_copy(dev, endpoint, data, len, status);
		break;
	case VIRGO_USB_FILL:
		trace_umb_fill(dev, endpoint, data, len, status);
		break;
	case VIRGO_USB_SUBMIT:
		trace_umb_submit(dev, endpoint, data, len, status);
		break;
	case VIRGO_USB_COMPLETE:
		trace_umb_complete(dev, endpoint, data, len, status);
		break;
	}
}
