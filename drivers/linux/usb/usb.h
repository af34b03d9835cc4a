/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the Rust side of this crate needs of the USB core and kernel::bindings does
 * not have: inline functions, macros, the monitor. bindgen reads this file.
 */
#ifndef VIRGO_LINUX_USB_H
#define VIRGO_LINUX_USB_H

#include <linux/fs.h>
#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/usb.h>

/**
 * struct virgo_usb_endpoint - an endpoint of an interface
 * @address:    its number, with USB_DIR_IN for those that send
 * @interval:   bInterval of its descriptor
 * @interrupt:  it is an interrupt endpoint, not a bulk one
 * @max_packet: bytes that it transfers at once, not 0
 */
struct virgo_usb_endpoint {
	u8 address;
	u8 interval;
	bool interrupt;
	u16 max_packet;
};

bool virgo_usb_find_endpoint(const struct usb_interface *intf, bool in,
			     struct virgo_usb_endpoint *found);
void virgo_usb_fill(struct urb *urb, struct usb_device *dev, const struct virgo_usb_endpoint *ep,
		    void *buffer, u32 len, usb_complete_t complete, void *context);
int virgo_usb_clear_halt(struct usb_device *dev, const struct virgo_usb_endpoint *ep);
int virgo_usb_number(const struct usb_device *dev, u16 *bus);
u8 virgo_usb_interface_number(const struct usb_interface *intf);
struct usb_interface *virgo_usb_opened(struct usb_driver *driver, const struct inode *inode);

bool virgo_usb_owner_is_live(const struct file *file);

int virgo_usb_mutex_lock(struct mutex *mutex);
bool virgo_usb_mutex_trylock(struct mutex *mutex);
void virgo_usb_mutex_unlock(struct mutex *mutex);

/** enum virgo_usb_stage - where a buffer is on its way */
enum virgo_usb_stage {
	/* The driver is bound; the buffer is empty. */
	VIRGO_USB_PROBE,
	/* Copied from or to a program. */
	VIRGO_USB_COPY,
	/* Made part of an URB. */
	VIRGO_USB_FILL,
	/* Handed to the host controller. */
	VIRGO_USB_SUBMIT,
	/* Back from there. */
	VIRGO_USB_COMPLETE,
};

void virgo_usb_trace(enum virgo_usb_stage stage, const struct usb_device *dev, u8 endpoint,
		     const void *data, u32 len, int status);

/* Captures that may run at once. */
#define VIRGO_USB_TAPS 8
/* Descriptors of isochronous packets that are captured of an URB. */
#define VIRGO_USB_ISO_MAX 128

/**
 * struct virgo_usb_packet - header of a captured event: LINKTYPE_USB_LINUX_MMAPPED (220)
 * @id:          the same for the submission and the completion of an URB
 * @type:        'S' for a submission, 'C' for a completion, 'E' for a failed submission
 * @transfer:    0 isochronous, 1 interrupt, 2 control, 3 bulk
 * @endpoint:    its number, with 0x80 for transfers to the host
 * @device:      address on the bus
 * @bus:         number of the bus
 * @flag_setup:  0 if @setup is valid, otherwise '-'
 * @flag_data:   0 if there is data, otherwise why there is none
 * @sec:         wall clock
 * @usec:        wall clock
 * @status:      of the URB, as a negative errno
 * @urb_len:     bytes asked for, or transferred
 * @data_len:    bytes behind the header: descriptors and data
 * @setup:       setup packet; or error count and number of isochronous packets
 * @interval:    of interrupt and isochronous URBs
 * @start_frame: of isochronous URBs
 * @xfer_flags:  transfer_flags of the URB
 * @ndesc:       descriptors of isochronous packets between header and data
 */
struct virgo_usb_packet {
	u64 id;
	u8 type;
	u8 transfer;
	u8 endpoint;
	u8 device;
	u16 bus;
	u8 flag_setup;
	u8 flag_data;
	s64 sec;
	s32 usec;
	s32 status;
	u32 urb_len;
	u32 data_len;
	u8 setup[8];
	s32 interval;
	s32 start_frame;
	u32 xfer_flags;
	u32 ndesc;
};

/**
 * struct virgo_usb_tap - who is told of all events
 * @event: called in any context, must not sleep; data_len of the packet is what could be copied
 * @data:  its first argument
 * @added: whether it is told; false before
 */
struct virgo_usb_tap {
	void (*event)(void *data, const struct virgo_usb_packet *packet, const struct urb *urb);
	void *data;
	bool added;
};

int virgo_usb_tap_add(struct virgo_usb_tap *tap);
void virgo_usb_tap_remove(struct virgo_usb_tap *tap);
u32 virgo_usb_copy(const struct urb *urb, const struct virgo_usb_packet *packet, u32 from,
		   void *to, u32 len);

#endif /* VIRGO_LINUX_USB_H */
