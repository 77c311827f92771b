package cli

import "github.com/keyhold/keyhold/client"

// memory tells how the server keeps secrets in memory. Strangers are not told, and older servers do not say.
func (d *diagnosis) memory(m client.Memory) {
	switch m.Kind {
	case "":
		return
	case "memfd_secret":
		d.add("memory", findingOK, "", "the root key is in memory of its own, which no other process reads (memfd_secret)")
	case "mlock":
		d.add("memory", findingOK, "", "the root key is in locked memory, which is not swapped; the kernel offers no memfd_secret")
	default:
		d.add("memory", findingWarning, "raise LimitMEMLOCK of the service to 1M or more, and start it again", "the root key is in ordinary memory, which may be swapped")
	}
	if m.Full > 0 {
		d.add("memory", findingWarning, "seal and unseal the server; if it comes again, it has too many namespaces in use", "%d secrets found no place beside the root key, and are on the heap", m.Full)
	}
	if !m.Erasing {
		d.add("memory", findingWarning, "use a program that make build built, for linux on amd64 or arm64", "what keys leave on stack and heap stays there until it is used again (no runtime/secret)")
	}
}
