package cli

import (
	"crypto/rand"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/keyhold/keyhold/client"
	"github.com/keyhold/keyhold/internal/inventory"
	"github.com/keyhold/keyhold/internal/kms"
)

// The forms of the inventory beside those of all commands.
const (
	formatCSV  = "csv"
	formatCBOM = "cbom"
)

func inventoryForms() []string { return []string{formatTable, formatJSON, formatCSV, formatCBOM} }

// inventoryWriter is a form that takes one key after another.
type inventoryWriter interface {
	Add(k *client.InventoryKey) error
	Close() error
}

func (a *app) newInventoryWriter(form string, to io.Writer) (inventoryWriter, error) {
	if form == formatCSV {
		return inventory.NewCSV(to)
	}
	return inventory.NewCBOM(to, inventory.About{Serial: randomID(), Made: time.Now(), Version: a.version})
}

// randomID is a UUID of version 4 (RFC 9562 §5.4).
func randomID() (id kms.ID) {
	rand.Read(id[:]) //nolint:errcheck // never fails since Go 1.24
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id
}

// writeInventory writes keys as they come: to standard output, or to a file that is there only when it is whole.
func (a *app) writeInventory(form string, o output, limit int, all iter.Seq2[client.InventoryKey, error]) error {
	to := &target{Writer: a.out, name: "standard output"}
	if o.out != "" && o.out != stdStream {
		var err error
		if to, err = a.target(o, "", "inventory", 0o600); err != nil {
			return err
		}
	}
	n, more, err := a.copyInventory(form, to, limit, all)
	if err != nil {
		return to.abandon(err)
	}
	if err := to.place(); err != nil {
		return err
	}
	if more {
		fmt.Fprintf(a.stderr, "there are more: --limit 0 shows all\n")
	}
	if to.file != nil {
		fmt.Fprintf(a.stderr, "%d keys to %s\n", n, to.name)
	}
	return nil
}

func (a *app) copyInventory(form string, to io.Writer, limit int, all iter.Seq2[client.InventoryKey, error]) (n int, more bool, err error) {
	w, err := a.newInventoryWriter(form, to)
	if err != nil {
		return 0, false, err
	}
	for k, failed := range all {
		switch {
		case failed != nil:
			return n, false, failed
		case limit > 0 && n == limit:
			return n, true, w.Close()
		}
		if err := w.Add(&k); err != nil {
			return n, false, err
		}
		n++
	}
	return n, false, w.Close()
}
