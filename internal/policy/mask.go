package policy

import (
	"math/bits"

	"github.com/keyhold/keyhold/internal/kms"
)

// mask is a set of actions.
type mask [(kms.ActionCount + 63) / 64]uint64

func maskOf(actions ...kms.Action) mask {
	var m mask
	for _, a := range actions {
		m[a/64] |= 1 << (a % 64)
	}
	return m
}

func groupMask(g kms.Group) mask {
	var m mask
	for _, a := range kms.AllActions() {
		if a.Group() == g {
			m = m.or(maskOf(a))
		}
	}
	return m
}

func (m *mask) has(a kms.Action) bool { return m[a/64]&(1<<(a%64)) != 0 }

func (m mask) or(o mask) mask {
	for i := range m {
		m[i] |= o[i]
	}
	return m
}

func (m mask) and(o mask) mask {
	for i := range m {
		m[i] &= o[i]
	}
	return m
}

func (m mask) empty() bool { return m == mask{} }

// first is the lowest action of the set; 0 if it is empty.
func (m mask) first() kms.Action {
	for i, w := range m {
		if w != 0 {
			return kms.Action(i*64 + bits.TrailingZeros64(w)) //nolint:gosec // G115: at most ActionCount
		}
	}
	return 0
}

func (m mask) without(a kms.Action) mask {
	m[a/64] &^= 1 << (a % 64)
	return m
}
