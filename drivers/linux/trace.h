/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tracepoints of the modules, in /sys/kernel/tracing/events/virgo. All have the same fields,
 * so that one script reads them all; what a field means in each is said at the event.
 *
 * They are no stable interface: fields may be added.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM virgo

#if !defined(VIRGO_LINUX_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define VIRGO_LINUX_TRACE_H

#include <linux/tracepoint.h>

/*
 * node:   number of the other node; 0 if no other takes part, or if it is not known yet
 * port:   the service, by its port
 * op:     the operation, by its number in the frames of the service
 * id:     what tells this one from others of its kind on this node
 * size:   bytes of the body
 * status: 0, or a negative errno
 * ns:     how long it took, in nanoseconds; 0 at a beginning
 */
DECLARE_EVENT_CLASS(virgo_event,
		    TP_PROTO(u32 node, u32 port, u32 op, u64 id, u64 size, int status, u64 ns),
		    TP_ARGS(node, port, op, id, size, status, ns),
		    TP_STRUCT__entry(__field(u32, node)
				     __field(u32, port)
				     __field(u32, op)
				     __field(int, status)
				     __field(u64, id)
				     __field(u64, size)
				     __field(u64, ns)
		    ),
		    TP_fast_assign(__entry->node = node;
				   __entry->port = port;
				   __entry->op = op;
				   __entry->status = status;
				   __entry->id = id;
				   __entry->size = size;
				   __entry->ns = ns;
		    ),
		    TP_printk("node=%u port=%u op=%u id=%llu size=%llu status=%d ns=%llu",
			      __entry->node, __entry->port, __entry->op, __entry->id, __entry->size,
			      __entry->status, __entry->ns)
);

#define VIRGO_EVENT(name) \
	DEFINE_EVENT(virgo_event, name, \
		     TP_PROTO(u32 node, u32 port, u32 op, u64 id, u64 size, int status, u64 ns), \
		     TP_ARGS(node, port, op, id, size, status, ns))

/*
 * A request to another node was handed to its connection. id: slot and sequence number, as on the
 * wire.
 */
VIRGO_EVENT(virgo_request);

/*
 * The call that made a request ends: with its reply, or with the errno of its failure. id as in
 * virgo_request.
 */
VIRGO_EVENT(virgo_reply);

/*
 * A request of another node was carried out, or a command of a text session: then op is
 * its place in the help, and node 0. id: the session.
 */
VIRGO_EVENT(virgo_serve);

/* An attempt to connect to another node ended. */
VIRGO_EVENT(virgo_reconnect);

/* A session began (op 0), proved who it is (1), or ended (2). id: the session. */
VIRGO_EVENT(virgo_session);

/*
 * A job of virgo_clone began (op 0) or ended (1) on this node. id: the number that its caller gave
 * it.
 */
VIRGO_EVENT(virgo_job);

/* Messages of one name were published in one go. op: how many; id: position of the last. */
VIRGO_EVENT(virgo_publish);

#endif /* VIRGO_LINUX_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
