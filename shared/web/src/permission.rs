//! Who may do what: a route needs a permission, a role is a set of them.

use std::fmt;

/// What a route does with its resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Looks at it.
    Read,
    /// Changes it.
    Write,
    /// Looks after its read models.
    Operate,
}

/// What a caller needs to be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permission {
    /// `{resource}:read`, `{resource}:write` or `{resource}:operate`, within the caller's tenant.
    Resource(&'static str, Access),
    /// `tenant:any`: acting for a tenant other than the one in the token.
    AnyTenant,
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resource(resource, Access::Read) => write!(f, "{resource}:read"),
            Self::Resource(resource, Access::Write) => write!(f, "{resource}:write"),
            Self::Resource(resource, Access::Operate) => write!(f, "{resource}:operate"),
            Self::AnyTenant => f.write_str("tenant:any"),
        }
    }
}

/// Whether a route asks who is calling. There is no default: a route says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Anybody, without a token.
    Public,
    /// Callers with this permission.
    Needs(Permission),
}

/// A role, as named in a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Viewer,
    Editor,
    Admin,
    SystemAdmin,
}

impl Role {
    /// The role of that name. Other names are somebody else's roles and grant nothing here.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "viewer" => Some(Self::Viewer),
            "editor" => Some(Self::Editor),
            "admin" => Some(Self::Admin),
            "system_admin" => Some(Self::SystemAdmin),
            _ => None,
        }
    }

    pub(crate) fn grants(self, permission: Permission) -> bool {
        match (self, permission) {
            (Self::Viewer, Permission::Resource(_, Access::Read))
            | (Self::Editor, Permission::Resource(_, Access::Read | Access::Write))
            | (Self::Admin, Permission::Resource(..))
            | (Self::SystemAdmin, _) => true,
            (Self::Viewer, Permission::Resource(_, Access::Write | Access::Operate))
            | (Self::Editor, Permission::Resource(_, Access::Operate))
            | (Self::Viewer | Self::Editor | Self::Admin, Permission::AnyTenant) => false,
        }
    }
}
