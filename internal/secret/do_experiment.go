//go:build goexperiment.runtimesecret

package secret

import runtimesecret "runtime/secret"

// Erasing tells whether Do erases.
const Erasing = true

// Do calls f and then erases the registers and the stack that f used; what f allocated on the heap is erased as soon as the
// collector finds it unreachable (runtime/secret). It is for short-lived material: opening, deriving, making keys. It costs about 100 ns.
func Do(f func()) {
	if runtimesecret.Enabled() { // the outer one erases, once
		f()
		return
	}
	runtimesecret.Do(f)
}
