# SPDX-License-Identifier: GPL-2.0
# What a person types. The modules' own build is Kbuild; each step is a script under qemu/ or
# tests/ and runs inside the build root.

SHELL := /bin/bash
.NOTPARALLEL:
.SILENT:
.DEFAULT_GOAL := help

# The scripts read from the environment, where make puts them: KDIR=DIR, a prepared kernel tree
# of your own for the slim lane; VIRGO_MIRROR=URL, a Debian mirror other than this machine's;
# KERNEL=patched or stock, which kernel the demo runs on: the patched one if it was built before.

STEP := qemu/step.sh
CARGO := qemu/in-root cargo
WORKSPACE := --manifest-path tools/Cargo.toml --workspace --locked

##@ Using it
demo: demo-image ## boot three nodes and show what they do for each other
	. qemu/paths.sh && VIRGO_LANE=$$(virgo_demo_lane) tests/demo.sh

demo-usb: modules tools image ## bind, write to, capture and draw a USB device
	tests/demo-usb.sh

cluster: demo-image ## boot three nodes and leave them running; qemu/cluster.sh stops them
	. qemu/paths.sh && qemu/cluster.sh up $$([ $$(virgo_demo_lane) = slim ] || echo --stock)

##@ Building it
modules: kernel ## kernel modules: build/slim/modules
	$(STEP) modules-slim 'kernel modules' qemu/modules.sh slim $(CURDIR)/build/slim/modules

tools: root ## library, command line and cluster tool: build/target
	$(STEP) tools 'library, command line, cluster tool' $(CARGO) build --release $(WORKSPACE)
	$(STEP) tools-dynamic 'caller of library functions' qemu/in-root tools/dynamic build
	$(STEP) compat 'library for programs of the first VIRGO' qemu/in-root tools/compat/build
	$(STEP) c-programs 'C programs for the guests' qemu/in-root tests/c/build
	$(STEP) called 'what other nodes run and call' qemu/in-root tests/library/build

deb: tools ## Debian packages: build/deb
	$(STEP) deb 'Debian packages' qemu/in-root packaging/deb

deb-linux: root ## Debian package of a kernel with the system calls: build/deb-linux; see docs/operations.md
	mkdir -p build && rm -f build/lsmod
	$(if $(LSMOD),cp $(LSMOD) build/lsmod)
	. qemu/paths.sh && $(STEP) deb-linux "kernel with the system calls, Debian's configuration" \
		qemu/in-root packaging/deb-linux $$(virgo_stock_release) $$VIRGO_CACHE/deb-linux.work

doc: kernel ## rustdoc: build/doc/doc (modules), build/target/x86_64-unknown-linux-gnu/doc (crates)
	$(STEP) doc-modules 'rustdoc of the modules' qemu/modules.sh slim $(CURDIR)/build/doc \
		CLIPPY=1 CLIPPY_DRIVER=$(CURDIR)/qemu/rustdoc
	$(STEP) doc-crates 'rustdoc of the crates' qemu/in-root \
		env RUSTDOCFLAGS='-Dwarnings -Arustdoc::private-intra-doc-links' \
		cargo doc --no-deps --document-private-items $(WORKSPACE)

clean: ## remove what was built here, not what is cached for all clones
	rm -rf build
	. qemu/paths.sh && echo "Kept: $$VIRGO_CACHE (build root, kernels, crates)." \
		"To remove it, as root: rm -rf $$VIRGO_CACHE"

##@ Checking it
ifdef T
test: host-test slim-test ## all tests; with T=name: those named so, on the slim kernel
else
test: host-test slim-test debug-test
endif
	awk '/^test result:/ { passed += $$4; failed += $$6 } END { \
		if (!passed && !failed) print "no test ran; is one called $(T)?"; \
		print passed + 0 " passed, " failed + 0 " failed"; exit !passed || failed }' \
		$(^:%=build/log/%.log)

lint: kernel ## formatting, Clippy, checkpatch, shellcheck, house rules
	qemu/lint.sh

bench: modules tools image-bench ## instructions an operation, beside others
	tests/bench.sh $(T)

soak: modules-debug tools image-debug ## load and faults for long, on the debug kernel; with T=part: that part
	tests/soak.sh $(T)

package-test: deb ## packages in fresh Debian systems: install, cluster of three, upgrade, purge (as root)
	$(STEP) deb-next 'the same of a later version' qemu/in-root packaging/deb 0.1.1
	$(STEP) package-test 'packages in fresh Debian systems' packaging/test deb deb-0.1.1

##@ Steps of the above
root: ## build root: compilers, kernel source, QEMU
	qemu/buildroot.sh

kernel: root ## slim kernel
	qemu/kernel.sh slim

kernel-debug: root ## kernel with KASAN, lockdep and kmemleak
	qemu/kernel.sh debug

# On two processors tools are built while the metadata of a kernel are made, which takes one of them.
demo-image: root
	. qemu/paths.sh && lane=$$(virgo_demo_lane) && if [ "$$lane" = stock ]; then \
		$(MAKE) tools & $(MAKE) modules-stock; modules=$$?; \
		wait $$! && [ $$modules = 0 ] && $(MAKE) image-stock; \
	else \
		$(MAKE) image; \
	fi

stock: root ## what modules are built against for Debian's own kernel
	qemu/stock.sh

modules-stock: stock ## modules for it: build/stock/modules
	$(STEP) modules-stock "kernel modules, Debian's kernel" \
		qemu/modules.sh stock $(CURDIR)/build/stock/modules

modules-debug: kernel-debug ## modules for it: build/debug/modules
	$(STEP) modules-debug 'kernel modules, debug lane' \
		qemu/modules.sh debug $(CURDIR)/build/debug/modules

image: modules tools ## what the guests boot: build/slim/initramfs.cpio
	qemu/image.sh slim

image-debug: modules-debug tools ## the same of the debug lane
	qemu/image.sh debug

image-stock: modules-stock tools ## the same for Debian's kernel
	qemu/image.sh stock

image-bench: modules tools ## the same with what VIRGO is compared with
	qemu/image.sh bench

host-test: root ## tests that need no guest
	$(STEP) host-test 'tests on this machine' \
		qemu/in-root tests/host.sh $(T)

slim-test: modules tools image ## cluster tests
	tests/run.sh slim $(T)

stock-test: modules-stock tools image-stock ## those that show each service and door, on Debian's kernel
	tests/run.sh stock $(T)

debug-test: modules-debug tools image-debug ## cluster tests on the debug kernel, smaller counts
	tests/run.sh debug $(T)

help: ## this text
	awk -F ':.*## ' '/^##@/ { print "\n" substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*/\1/p' Makefile)
