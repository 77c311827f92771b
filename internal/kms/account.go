package kms

import (
	"crypto/sha256"
	"encoding/binary"
)

// AccountOf is the 12-digit number that stands for a namespace where AWS has the number of an account, unless it was given another.
func AccountOf(ns Namespace) string {
	if ns == DefaultNamespace {
		return "000000000000"
	}
	sum := sha256.Sum256([]byte("keyhold: AWS account of a namespace\x00" + string(ns)))
	n := binary.BigEndian.Uint64(sum[:]) % 1e12
	var digits [12]byte
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = byte('0' + n%10)
		n /= 10
	}
	return string(digits[:])
}
