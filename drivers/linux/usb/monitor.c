// SPDX-License-Identifier: GPL-2.0
/*
 * Events of all URBs, for captures: the kernel's single monitor slot, shared by
 * several taps.
 *
 * The slot is taken with the first tap and given back with the last one, so that
 * usbmon can be used while nothing is captured here. The core calls a monitor if
 * bus->monitored says so, and looks at the slot after that without any lock. So
 * to give the slot back takes three steps: no bus is monitored any more; all
 * callers that may have seen otherwise are waited for; the slot is emptied. A
 * caller is a softirq or interrupt (synchronize_rcu() waits for those), or a task
 * that submits and may be preempted between the look at the flag and the call,
 * outside of any RCU reader: synchronize_rcu_tasks() waits for that.
 *
 * A preemptible kernel without Tasks RCU has no way to wait for them, and a
 * kernel without CONFIG_USB_MON no slot: there is no capture then.
 */
#include <linux/idr.h>
#include <linux/mutex.h>
#include <linux/once.h>
#include <linux/rcupdate.h>
#include <linux/scatterlist.h>
#include <linux/siphash.h>
#include <linux/timekeeping.h>
#include <linux/usb.h>
#include <linux/usb/hcd.h>

#include "usb.h"

static_assert(sizeof(struct virgo_usb_packet) == 64);

#if IS_ENABLED(CONFIG_USB_MON) && (!IS_ENABLED(CONFIG_PREEMPTION) || IS_ENABLED(CONFIG_TASKS_RCU))

/**
 * struct virgo_usb_iso - what stands between header and data for an isochronous packet
 * @status: of the packet
 * @offset: of its data
 * @len:    asked for, or transferred
 * @pad:    0
 */
struct virgo_usb_iso {
	s32 status;
	u32 offset;
	u32 len;
	u32 pad;
};

/* Guards the slot and changes of the taps. */
static DEFINE_MUTEX(taps_lock);
static struct virgo_usb_tap __rcu *taps[VIRGO_USB_TAPS];
static unsigned int used_taps;
static siphash_aligned_key_t id_key;

static u8 transfer_type(const struct usb_endpoint_descriptor *desc)
{
	switch (usb_endpoint_type(desc)) {
	case USB_ENDPOINT_XFER_ISOC:
		return 0;
	case USB_ENDPOINT_XFER_INT:
		return 1;
	case USB_ENDPOINT_XFER_CONTROL:
		return 2;
	default:
		return 3;
	}
}

/* Bytes of an isochronous transfer to the host: it has gaps, so it ends with the last packet. */
static u32 iso_end(const struct urb *urb, u32 packets)
{
	u32 end = 0;
	u32 i;

	for (i = 0; i < packets; i++) {
		const struct usb_iso_packet_descriptor *desc = &urb->iso_frame_desc[i];

		if (desc->actual_length)
			end = max(end, desc->offset + desc->actual_length);
	}
	return end;
}

/* The part of @len bytes that virgo_usb_copy() can reach; says in @flag why there is none. */
static u32 reachable(const struct urb *urb, u32 len, u8 *flag)
{
	if (!len)
		return 0;
	if (urb->num_sgs) {
		/* Segments that an IOMMU has merged are not what their pages say. */
		if (!(urb->transfer_flags & URB_DMA_SG_COMBINED))
			return len;
		*flag = 'D';
	} else {
		if (urb->transfer_buffer)
			return len;
		*flag = 'Z';
	}
	return 0;
}

static void describe(struct virgo_usb_packet *packet, const struct urb *urb, u8 type, int status)
{
	const struct usb_endpoint_descriptor *desc = &urb->ep->desc;
	bool in = usb_urb_dir_in((struct urb *)urb);
	struct timespec64 now;
	u32 len;

	ktime_get_real_ts64(&now);
	*packet = (struct virgo_usb_packet){
		/* No kernel address leaves the kernel. */
		.id = siphash_1u64((unsigned long)urb, &id_key),
		.type = type,
		.transfer = transfer_type(desc),
		.endpoint = usb_endpoint_num(desc) | (in ? USB_DIR_IN : 0),
		.device = urb->dev->devnum,
		.bus = urb->dev->bus->busnum,
		.flag_setup = '-',
		.sec = now.tv_sec,
		.usec = now.tv_nsec / NSEC_PER_USEC,
		.status = status,
	};
	if (type == 'E') {
		packet->flag_data = 'E';
		return;
	}
	packet->xfer_flags = urb->transfer_flags;
	packet->urb_len = type == 'S' ? urb->transfer_buffer_length : urb->actual_length;
	len = packet->urb_len;
	switch (packet->transfer) {
	case 0:
		packet->ndesc = clamp(urb->number_of_packets, 0, VIRGO_USB_ISO_MAX);
		packet->start_frame = urb->start_frame;
		memcpy(packet->setup, &urb->error_count, 4);
		memcpy(packet->setup + 4, &urb->number_of_packets, 4);
		if (type == 'C' && in)
			len = iso_end(urb, packet->ndesc);
		fallthrough;
	case 1:
		packet->interval = urb->interval;
		break;
	case 2:
		if (type == 'S') {
			packet->flag_setup = urb->setup_packet ? 0 : 'Z';
			if (urb->setup_packet)
				memcpy(packet->setup, urb->setup_packet, sizeof(packet->setup));
		}
		break;
	}
	/* Whatever the host controller's driver says. */
	len = min(len, urb->transfer_buffer_length);
	if (in == (type == 'S')) {
		len = 0;
		packet->flag_data = in ? '<' : '>';
	}
	packet->data_len = packet->ndesc * sizeof(struct virgo_usb_iso) +
			   reachable(urb, len, &packet->flag_data);
}

static void tell(const struct urb *urb, u8 type, int status)
{
	struct virgo_usb_packet packet;
	unsigned int i;

	describe(&packet, urb, type, status);
	rcu_read_lock();
	for (i = 0; i < VIRGO_USB_TAPS; i++) {
		const struct virgo_usb_tap *tap = rcu_dereference(taps[i]);

		if (tap)
			tap->event(tap->data, &packet, urb);
	}
	rcu_read_unlock();
}

static void on_submit(struct usb_bus *bus, struct urb *urb)
{
	tell(urb, 'S', -EINPROGRESS);
}

static void on_submit_error(struct usb_bus *bus, struct urb *urb, int error)
{
	tell(urb, 'E', error);
}

static void on_complete(struct usb_bus *bus, struct urb *urb, int status)
{
	tell(urb, 'C', status);
}

static const struct usb_mon_operations monitor_ops = {
	.urb_submit = on_submit,
	.urb_submit_error = on_submit_error,
	.urb_complete = on_complete,
};

static int on_bus_change(struct notifier_block *block, unsigned long action, void *data)
{
	struct usb_bus *bus = data;

	/* A bus that is removed may be added again, when nobody listens and the slot is empty. */
	if (action == USB_BUS_ADD)
		bus->monitored = 1;
	else if (action == USB_BUS_REMOVE)
		bus->monitored = 0;
	return NOTIFY_OK;
}

static struct notifier_block bus_changes = {
	.notifier_call = on_bus_change,
};

static void monitor_all(bool monitored)
{
	struct usb_bus *bus;
	int id;

	mutex_lock(&usb_bus_idr_lock);
	idr_for_each_entry(&usb_bus_idr, bus, id)
		bus->monitored = monitored;
	mutex_unlock(&usb_bus_idr_lock);
}

/*
 * Whether usbmon has any bus. When it is unloaded it gives the slot back first, then its
 * buses, and ends what is monitored of them, whoever monitors it.
 */
static bool usbmon_has_buses(void)
{
	struct usb_bus *bus;
	bool found = false;
	int id;

	mutex_lock(&usb_bus_idr_lock);
	idr_for_each_entry(&usb_bus_idr, bus, id)
		found |= !!READ_ONCE(bus->mon_bus);
	mutex_unlock(&usb_bus_idr_lock);
	return found;
}

static int start(void)
{
	int error;

	get_random_once(&id_key, sizeof(id_key));
	/*
	 * Does not lock. What remains: a module that registers between the look at the slot and the
	 * write to it, a few instructions, has the slot, too. Nobody outside the core can tell.
	 */
	error = usb_mon_register(&monitor_ops);
	if (error)
		return error;
	/* usbmon is being unloaded. */
	if (usbmon_has_buses()) {
		usb_mon_deregister();
		return -EBUSY;
	}
	usb_register_notify(&bus_changes);
	monitor_all(true);
	return 0;
}

static void stop(void)
{
	/*
	 * Waits for calls of on_bus_change(). What remains: a bus that has left the core's list
	 * before the next line, and that the core tells of after this one, stays monitored; it
	 * matters if its driver adds it again.
	 */
	usb_unregister_notify(&bus_changes);
	monitor_all(false);
	synchronize_rcu();
	synchronize_rcu_tasks();
	usb_mon_deregister();
}

/*
 * Has events told to @tap until it is removed. -EBUSY if another module has the
 * kernel's monitor slot, -EUSERS if there are too many taps, -EINTR if the task is
 * killed while another one waits for callers. Sleeps.
 */
int virgo_usb_tap_add(struct virgo_usb_tap *tap)
{
	int error;
	int i;

	error = mutex_lock_killable(&taps_lock);
	if (error)
		return error;
	for (i = 0; i < VIRGO_USB_TAPS; i++) {
		if (!rcu_access_pointer(taps[i]))
			break;
	}
	if (i == VIRGO_USB_TAPS)
		error = -EUSERS;
	else if (!used_taps)
		error = start();
	if (!error) {
		used_taps++;
		tap->added = true;
		rcu_assign_pointer(taps[i], tap);
	}
	mutex_unlock(&taps_lock);
	return error;
}

/*
 * On return the tap is not told of anything and not touched any more. Does nothing
 * for one that could not be added. Sleeps.
 */
void virgo_usb_tap_remove(struct virgo_usb_tap *tap)
{
	int i;

	if (!tap->added)
		return;
	mutex_lock(&taps_lock);
	for (i = 0; i < VIRGO_USB_TAPS; i++) {
		if (rcu_access_pointer(taps[i]) != tap)
			continue;
		RCU_INIT_POINTER(taps[i], NULL);
		if (!--used_taps)
			stop();
		else
			synchronize_rcu();
		break;
	}
	mutex_unlock(&taps_lock);
}

static u32 copy_iso(const struct urb *urb, const struct virgo_usb_packet *packet, u32 from,
		    void *to, u32 len)
{
	u32 copied = 0;

	while (copied < len && from / sizeof(struct virgo_usb_iso) < packet->ndesc) {
		const struct usb_iso_packet_descriptor *desc =
			&urb->iso_frame_desc[from / sizeof(struct virgo_usb_iso)];
		struct virgo_usb_iso iso = {
			.status = desc->status,
			.offset = desc->offset,
			.len = packet->type == 'S' ? desc->length : desc->actual_length,
		};
		u32 at = from % sizeof(iso);
		u32 n = min_t(u32, sizeof(iso) - at, len - copied);

		memcpy(to + copied, (void *)&iso + at, n);
		copied += n;
		from += n;
	}
	return copied;
}

static u32 copy_sg(const struct urb *urb, u32 from, void *to, u32 len)
{
	struct scatterlist *sg;
	u32 copied = 0;
	int i;

	for_each_sg(urb->sg, sg, urb->num_sgs, i) {
		u32 n;

		if (copied == len || !sg || PageHighMem(sg_page(sg)))
			break;
		if (from >= sg->length) {
			from -= sg->length;
			continue;
		}
		n = min(sg->length - from, len - copied);
		memcpy(to + copied, sg_virt(sg) + from, n);
		copied += n;
		from = 0;
	}
	return copied;
}

/*
 * Copies @len bytes of what is captured behind the header, from @from on:
 * descriptors, then data. Returns how many there were. For use in the tap's
 * event() only, with its arguments; @from + @len must not exceed data_len.
 */
u32 virgo_usb_copy(const struct urb *urb, const struct virgo_usb_packet *packet, u32 from,
		   void *to, u32 len)
{
	u32 descs = packet->ndesc * sizeof(struct virgo_usb_iso);
	u32 copied = 0;

	if (from < descs) {
		copied = copy_iso(urb, packet, from, to, min(len, descs - from));
		from += copied;
	}
	if (copied == len)
		return copied;
	if (urb->num_sgs)
		return copied + copy_sg(urb, from - descs, to + copied, len - copied);
	memcpy(to + copied, urb->transfer_buffer + (from - descs), len - copied);
	return len;
}

#else

int virgo_usb_tap_add(struct virgo_usb_tap *tap)
{
	return -EOPNOTSUPP;
}

void virgo_usb_tap_remove(struct virgo_usb_tap *tap)
{
}

u32 virgo_usb_copy(const struct urb *urb, const struct virgo_usb_packet *packet, u32 from,
		   void *to, u32 len)
{
	return 0;
}

#endif
