package records

import (
	"encoding/binary"

	"github.com/keyhold/keyhold/internal/kms"
)

func keyPrefix(ns kms.Namespace) []byte {
	b := make([]byte, 0, 2+len(ns)+16)
	b = append(b, byte(kindKey))
	b = append(b, ns...)
	return append(b, 0)
}

func keyPath(ns kms.Namespace, id kms.ID) []byte { return append(keyPrefix(ns), id[:]...) }

func versionPath(id kms.ID, n uint32) []byte {
	b := make([]byte, 0, 21)
	b = append(b, byte(kindVersion))
	b = append(b, id[:]...)
	return binary.BigEndian.AppendUint32(b, n)
}

func shredPath(id kms.ID, n uint32) []byte {
	b := versionPath(id, n)
	b[0] = byte(kindShred)
	return b
}

// namespaceShredPath cannot meet a key's: UUIDv7 ids of keys never start with 00 (that would be before 1978).
func namespaceShredPath(ns kms.Namespace) []byte {
	return append([]byte{byte(kindShred), 0}, ns...)
}

// archiveShredPath cannot meet a namespace KEK's: no name of a namespace begins with 00.
func archiveShredPath(ns kms.Namespace) []byte {
	return append([]byte{byte(kindShred), 0, 0}, ns...)
}

func archivePath(id kms.ID, n uint32) []byte {
	b := versionPath(id, n)
	b[0] = byte(kindArchive)
	return b
}

func archiveKEKPath(ns kms.Namespace) []byte {
	return append([]byte{byte(kindArchive), 0}, ns...)
}

func (r *Records) namePath(ns kms.Namespace, name string) []byte {
	h := r.chain.Index([]byte("name"), []byte(ns), []byte(name))
	return append([]byte{byte(kindName)}, h[:]...)
}

func namespacePath(ns kms.Namespace) []byte { return append([]byte{byte(kindNamespace)}, ns...) }

func policyPrefix(ns kms.Namespace) []byte {
	b := append([]byte{byte(kindPolicy)}, ns...)
	return append(b, 0)
}

func policyPath(ns kms.Namespace, id string) []byte { return append(policyPrefix(ns), id...) }

func tokenPath(id kms.ID) []byte { return append([]byte{byte(kindToken)}, id[:]...) }

func (r *Records) credentialPath(subject string) []byte {
	h := r.chain.Index([]byte("subject"), []byte(subject))
	return append([]byte{byte(kindCredential)}, h[:]...)
}

func outboxPath(id kms.ID) []byte { return append([]byte{byte(kindOutbox)}, id[:]...) }

func (r *Records) idemPath(parts ...[]byte) []byte {
	h := r.chain.Index(append([][]byte{[]byte("idempotency")}, parts...)...)
	return append([]byte{byte(kindIdem)}, h[:]...)
}

func systemPath(name string) []byte { return append([]byte{byte(kindSystem)}, name...) }

var enrollmentPath = []byte{byte(kindEnrollment)}

func jobPath(name string) []byte { return append([]byte{byte(kindJob)}, name...) }

const versionPathLen = 1 + 16 + 4

// splitVersion reads the key id and number back from the path of a version or of its shred row.
func splitVersion(path []byte) (kms.ID, uint32) {
	return kms.ID(path[1:17]), binary.BigEndian.Uint32(path[17:])
}
