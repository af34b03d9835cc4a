/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tracepoints on the way of a buffer between a program and a USB device. Each
 * shows the first bytes of it.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM umb

#if !defined(VIRGO_LINUX_USB_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define VIRGO_LINUX_USB_TRACE_H

#include <linux/minmax.h>
#include <linux/tracepoint.h>
#include <linux/usb.h>

#define VIRGO_USB_TRACED 64u

DECLARE_EVENT_CLASS(umb_buffer,
		    TP_PROTO(const struct usb_device *dev, u8 endpoint, const void *data, u32 len,
			     int status),
		    TP_ARGS(dev, endpoint, data, len, status),
		    TP_STRUCT__entry(__field(int, bus)
				     __field(int, device)
				     __field(u8, endpoint)
				     __field(u32, len)
				     __field(int, status)
				     __dynamic_array(u8, data, min(len, VIRGO_USB_TRACED))),
		    TP_fast_assign(__entry->bus = dev->bus->busnum;
				   __entry->device = dev->devnum;
				   __entry->endpoint = endpoint;
				   __entry->len = len;
				   __entry->status = status;
				   memcpy(__get_dynamic_array(data), data,
					  __get_dynamic_array_len(data));),
		    TP_printk("bus=%d device=%d endpoint=%02x len=%u status=%d data=%s",
			      __entry->bus, __entry->device, __entry->endpoint, __entry->len,
			      __entry->status,
			      __print_hex(__get_dynamic_array(data),
					  __get_dynamic_array_len(data)))
);

#define UMB_EVENT(name) \
	DEFINE_EVENT(umb_buffer, name, \
		     TP_PROTO(const struct usb_device *dev, u8 endpoint, const void *data, \
			      u32 len, int status), \
		     TP_ARGS(dev, endpoint, data, len, status))

UMB_EVENT(umb_probe);
UMB_EVENT(umb_copy);
UMB_EVENT(umb_fill);
UMB_EVENT(umb_submit);
UMB_EVENT(umb_complete);

#endif /* VIRGO_LINUX_USB_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE usb_trace

#include <trace/define_trace.h>
