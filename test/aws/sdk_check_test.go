package awstest

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
)

// samePublic tells whether a public key is that of a private one.
func samePublic(private, public any) bool {
	holder, ok := private.(interface{ Public() crypto.PublicKey })
	if !ok {
		return false
	}
	key, ok := holder.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(public)
}

// verifyECDSA verifies a signature with the standard library.
func verifyECDSA(spki, digest, signature []byte) error {
	key, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return err
	}
	public, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return fmt.Errorf("%T is not for ECDSA", key)
	}
	if !ecdsa.VerifyASN1(public, digest, signature) {
		return errors.New("the standard library does not verify the signature")
	}
	return nil
}

// agree does the other side's half of a key agreement.
func agree(mine *ecdh.PrivateKey, spki []byte) ([]byte, error) {
	key, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, err
	}
	public, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%T is not on a curve", key)
	}
	theirs, err := public.ECDH()
	if err != nil {
		return nil, err
	}
	return mine.ECDH(theirs)
}
