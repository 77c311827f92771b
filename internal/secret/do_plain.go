//go:build !goexperiment.runtimesecret

package secret

// Erasing tells whether Do erases.
const Erasing = false

// Do calls f. With GOEXPERIMENT=runtimesecret, as the released programs are built, it erases what f leaves on the stack, in
// registers and on the heap.
func Do(f func()) { f() }
