package engine

import (
	"context"
	"errors"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
)

const (
	leaseFor   = 30 * time.Second // without a sign of life: then another node goes on with the work
	leaseRenew = leaseFor / 3
)

// errLeaseLost: another node has taken the work over. Nothing was written.
var errLeaseLost = errors.New("another node has taken over")

// A tenure is a lease that this process holds. Time alone keeps nobody else out, since clocks differ: each transaction of the work reads the lease, so that the
// store refuses what a holder writes after it lost it. Whoever holds one is a user of o, so that the server is not sealed meanwhile.
type tenure struct {
	e      *Engine
	o      *opened
	name   string
	holder kms.ID
	stop   chan struct{}
	done   chan struct{}
}

// takeLease takes a lease that is free, and renews it until it is given back. nil: another node has it.
func (e *Engine) takeLease(ctx context.Context, o *opened, name string) (*tenure, error) {
	t := &tenure{e: e, o: o, name: name, holder: e.newID(e.now()), stop: make(chan struct{}), done: make(chan struct{})}
	taken := false
	_, _, err := o.records.Update(ctx, func(tx *records.Tx) error {
		l, there, err := tx.Lease(name)
		if err != nil {
			return err
		}
		if taken = !there || !e.now().Before(l.Until); !taken {
			return nil
		}
		return tx.PutLease(name, t.lease())
	})
	if err != nil || !taken {
		return nil, err
	}
	go t.keep()
	return t, nil
}

func (t *tenure) lease() records.Lease {
	return records.Lease{Holder: t.holder, Node: t.e.nodeName(), Until: t.e.now().Add(leaseFor).UTC()}
}

// fence makes a transaction fail if the lease is not this tenure's any more.
func (t *tenure) fence(tx *records.Tx) error {
	l, there, err := tx.Lease(t.name)
	if err == nil && (!there || l.Holder != t.holder) {
		err = errLeaseLost
	}
	return err
}

// keep renews the lease while the work goes on. A renewal that fails is tried again: what counts is the fence.
func (t *tenure) keep() {
	defer close(t.done)
	tick := time.NewTicker(leaseRenew)
	defer tick.Stop()
	for {
		select {
		case <-t.stop:
			return
		case <-tick.C:
		}
		if err := t.update(func(tx *records.Tx) error { return tx.PutLease(t.name, t.lease()) }); errors.Is(err, errLeaseLost) {
			return
		}
	}
}

// update writes the lease as long as it is this tenure's.
func (t *tenure) update(write func(*records.Tx) error) error {
	_, _, err := t.o.records.Update(context.Background(), func(tx *records.Tx) error {
		if err := t.fence(tx); err != nil {
			return err
		}
		return write(tx)
	})
	return err
}

// giveBack ends the tenure, so that nobody has to wait for its end. If it cannot be said, the lease runs out.
func (t *tenure) giveBack() {
	close(t.stop)
	<-t.done
	if err := t.update(func(tx *records.Tx) error { return tx.RemoveLease(t.name) }); err != nil && !errors.Is(err, errLeaseLost) {
		t.e.log.Warn("lease_not_given_back", "name", t.name, "error", err)
	}
}

// nodeName names this node to people.
func (e *Engine) nodeName() string {
	if e.cfg.Log != nil {
		return e.cfg.Log.Node()
	}
	return ""
}
