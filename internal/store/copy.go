package store

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
)

// A copy is what Export writes and an implementation's Import reads, the same for every implementation:
//
//	"KHCOPY" ‖ version u16
//	1 ‖ key length u16 ‖ rev u64 ‖ value length u32 ‖ key ‖ value      for each record, in strict byte order of keys
//	2 ‖ head rev u64 ‖ head hash [32] ‖ records u64 ‖ SHA-256 of everything before this sum
//
// Numbers are big-endian. The sum finds accidents, not attackers: the values are sealed. A copy carries neither feed
// nor tokens: who reads a restored store forgets everything first, and an outcome that was unknown stays unknown.

const (
	copyMagic   = "KHCOPY"
	copyVersion = 1

	frameRecord = 1
	frameEnd    = 2

	recordHead = 2 + 8 + 4
	endHead    = 8 + sha256.Size + 8
	copyBuffer = 64 << 10
)

// WriteCopy writes a copy: every record of one snapshot in byte order, and the head of that snapshot.
func WriteCopy(ctx context.Context, w io.Writer, head Head, records iter.Seq2[Record, error]) error {
	sum := sha256.New()
	out := bufio.NewWriterSize(w, copyBuffer)
	both := io.MultiWriter(out, sum)
	b := binary.BigEndian.AppendUint16([]byte(copyMagic), copyVersion)
	if _, err := both.Write(b); err != nil {
		return fmt.Errorf("write copy: %w", err)
	}
	count := uint64(0)
	for r, err := range records {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		b = append(b[:0], frameRecord)
		b = binary.BigEndian.AppendUint16(b, uint16(len(r.Key)))
		b = binary.BigEndian.AppendUint64(b, uint64(r.Rev))
		b = binary.BigEndian.AppendUint32(b, uint32(len(r.Value)))
		b = append(append(b, r.Key...), r.Value...)
		if _, err := both.Write(b); err != nil {
			return fmt.Errorf("write copy: %w", err)
		}
		count++
	}
	b = append(b[:0], frameEnd)
	b = binary.BigEndian.AppendUint64(b, uint64(head.Rev))
	b = append(b, head.Hash[:]...)
	b = binary.BigEndian.AppendUint64(b, count)
	if _, err := both.Write(b); err != nil {
		return fmt.Errorf("write copy: %w", err)
	}
	if _, err := out.Write(sum.Sum(nil)); err != nil {
		return fmt.Errorf("write copy: %w", err)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write copy: %w", err)
	}
	return nil
}

// ReadCopy hands every record of a copy to put, in byte order, and answers the head. Only a nil error says that the
// copy was whole: until then what was put is not a store. The record's slices are valid until put returns.
// Errors: ErrDamaged for everything that is not a copy as WriteCopy writes it; whatever put or the reader answers.
func ReadCopy(ctx context.Context, r io.Reader, put func(Record) error) (Head, error) {
	d := copyReader{in: bufio.NewReaderSize(r, copyBuffer), sum: sha256.New()}
	if err := d.start(); err != nil {
		return Head{}, err
	}
	var last []byte
	var newest Rev
	for n := uint64(0); ; n++ {
		if err := ctx.Err(); err != nil {
			return Head{}, err
		}
		kind, err := d.bytes(1)
		if err != nil {
			return Head{}, err
		}
		switch kind[0] {
		case frameRecord:
			rec, err := d.record()
			if err != nil {
				return Head{}, err
			}
			if last != nil && bytes.Compare(rec.Key, last) <= 0 {
				return Head{}, fmt.Errorf("%w: copy: record %d is out of order", ErrDamaged, n)
			}
			last = append(last[:0], rec.Key...)
			newest = max(newest, rec.Rev)
			if err := put(rec); err != nil {
				return Head{}, err
			}
		case frameEnd:
			return d.end(n, newest)
		default:
			return Head{}, fmt.Errorf("%w: copy: frame %d has kind %d", ErrDamaged, n, kind[0])
		}
	}
}

// copyReader reads frames and sums what it has read.
type copyReader struct {
	in  *bufio.Reader
	sum hash.Hash
	buf []byte
}

// bytes are the next n, valid until the next call.
func (d *copyReader) bytes(n int) ([]byte, error) {
	if cap(d.buf) < n {
		d.buf = make([]byte, max(n, 4<<10))
	}
	b := d.buf[:n]
	if _, err := io.ReadFull(d.in, b); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("%w: copy: it ends too early", ErrDamaged)
		}
		return nil, fmt.Errorf("read copy: %w", err)
	}
	d.sum.Write(b)
	return b, nil
}

func (d *copyReader) start() error {
	b, err := d.bytes(len(copyMagic) + 2)
	if err != nil {
		return err
	}
	if string(b[:len(copyMagic)]) != copyMagic {
		return fmt.Errorf("%w: not a copy of a store", ErrDamaged)
	}
	if v := binary.BigEndian.Uint16(b[len(copyMagic):]); v != copyVersion {
		return fmt.Errorf("store: the copy has format version %d, this program knows %d: use the version that wrote it", v, copyVersion)
	}
	return nil
}

func (d *copyReader) record() (Record, error) {
	b, err := d.bytes(recordHead)
	if err != nil {
		return Record{}, err
	}
	k := int(binary.BigEndian.Uint16(b))
	rev := Rev(binary.BigEndian.Uint64(b[2:]))
	v := binary.BigEndian.Uint32(b[10:])
	if k == 0 || k > MaxKey || v > MaxValue || rev == 0 {
		return Record{}, fmt.Errorf("%w: copy: a record of revision %d with a key of %d and a value of %d bytes", ErrDamaged, rev, k, v)
	}
	if b, err = d.bytes(k + int(v)); err != nil {
		return Record{}, err
	}
	return Record{Key: b[:k:k], Rev: rev, Value: b[k:]}, nil
}

func (d *copyReader) end(records uint64, newest Rev) (Head, error) {
	b, err := d.bytes(endHead)
	if err != nil {
		return Head{}, err
	}
	head := Head{Rev: Rev(binary.BigEndian.Uint64(b))}
	copy(head.Hash[:], b[8:])
	count := binary.BigEndian.Uint64(b[8+sha256.Size:])
	want := d.sum.Sum(nil)
	if b, err = d.bytes(sha256.Size); err != nil {
		return Head{}, err
	}
	switch {
	case !bytes.Equal(b, want):
		return Head{}, fmt.Errorf("%w: copy: the sum does not match", ErrDamaged)
	case count != records:
		return Head{}, fmt.Errorf("%w: copy: %d records, %d were written", ErrDamaged, records, count)
	case newest > head.Rev:
		return Head{}, fmt.Errorf("%w: copy: a record of revision %d is newer than the head %d", ErrDamaged, newest, head.Rev)
	case head.Rev == 0 && head.Hash != [32]byte{}:
		return Head{}, fmt.Errorf("%w: copy: revision 0 has a hash", ErrDamaged)
	}
	if _, err := d.in.ReadByte(); err == nil {
		return Head{}, fmt.Errorf("%w: copy: something follows its end", ErrDamaged)
	} else if !errors.Is(err, io.EOF) {
		return Head{}, fmt.Errorf("read copy: %w", err)
	}
	return head, nil
}
