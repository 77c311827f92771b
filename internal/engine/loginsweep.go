package engine

import (
	"context"
	"time"

	"github.com/keyhold/keyhold/internal/kms"
	"github.com/keyhold/keyhold/internal/records"
)

// dropLogins removes what a mount of logins, a role or time has left behind: mounts of namespaces that are no more, roles whose mount is gone, and secret ids
// whose role is gone or whose time is over. None of it is good for a login any more; it only takes room.
func (e *Engine) dropLogins(ctx context.Context, o *opened, now time.Time) error {
	live := map[kms.ID]bool{} // mounts
	err := pages(ctx, o.records.AllLoginMounts, func(page []records.LoginMount) error {
		gone, err := destroyedAmong(ctx, o, page, func(m *records.LoginMount) kms.Namespace { return m.Namespace })
		if err != nil {
			return err
		}
		for i := range page {
			m := &page[i]
			m.Erase()
			if live[m.ID] = !gone[m.Namespace]; live[m.ID] {
				continue
			}
			if err := e.drop(ctx, o, func(tx *records.Tx) error { return tx.RemoveLoginMount(*m) }); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = pages(ctx, o.records.AllLoginRoles, func(page []records.LoginRole) error {
		for i := range page {
			r := &page[i]
			r.Erase()
			if r.Tokens != "" && !live[r.Mount] { // they go with their namespace
				err := o.standing(ctx, r.Tokens)
				if err != nil && kms.CodeOf(err) != kms.CodeUnauthenticated {
					return err
				}
				live[r.Mount] = err == nil
			}
			if live[r.Mount] || r.Created.After(now) { // its mount may be newer than the look at mounts
				continue
			}
			if err := e.dropRole(ctx, o, r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return e.dropSecretIDs(ctx, o, now)
}

// pages goes through all pages of a listing.
func pages[T any](ctx context.Context, read func(context.Context, []byte, int) ([]T, []byte, error), each func([]T) error) error {
	for after := []byte(nil); ; {
		page, next, err := read(ctx, after, scanPage)
		if err != nil {
			return err
		}
		if err := each(page); err != nil {
			return err
		}
		if after = next; next == nil {
			return nil
		}
	}
}

// drop removes something that nothing depends on.
func (e *Engine) drop(ctx context.Context, o *opened, remove func(*records.Tx) error) error {
	_, touched, err := o.records.Update(ctx, remove)
	if err == nil {
		e.tell(touched)
	}
	return err
}

// dropRole removes a role of a mount that is gone.
func (e *Engine) dropRole(ctx context.Context, o *opened, r *records.LoginRole) error {
	return e.drop(ctx, o, func(tx *records.Tx) error {
		now, there, err := tx.LoginRole(r.Mount, r.Name)
		if err != nil || !there || now.Rev != r.Rev {
			return err
		}
		now.Erase()
		if a, err := ReadAppRole(now.Config); err == nil && a.RoleID != "" {
			tx.DropRoleOfID(r.Mount, a.RoleID)
		}
		return tx.RemoveLoginRole(now)
	})
}

// dropSecretIDs removes secret ids of no use. Those of a role come together, so that the role is looked for once in a page.
func (e *Engine) dropSecretIDs(ctx context.Context, o *opened, now time.Time) error {
	all := func(ctx context.Context, after []byte, n int) ([]records.SecretID, []byte, error) {
		return o.records.SecretIDs(ctx, kms.ID{}, after, n)
	}
	return pages(ctx, all, func(page []records.SecretID) error {
		live := map[kms.ID]bool{}
		for i := range page {
			s := &page[i]
			stands, known := live[s.Role]
			if !known {
				r, err := o.records.LoginRole(ctx, s.Mount, s.RoleName)
				if err != nil {
					return err
				}
				r.Erase()
				stands = r.Rev != 0 && r.ID == s.Role
				live[s.Role] = stands
			}
			if stands && !over(s, now) {
				continue
			}
			err := e.drop(ctx, o, func(tx *records.Tx) error {
				found, there, err := tx.SecretID(s.Role, s.Accessor)
				if err != nil || !there {
					return err
				}
				return tx.RemoveSecretID(found)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}
