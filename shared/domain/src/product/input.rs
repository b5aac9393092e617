//! Request bodies into commands.

use ledgerline_kernel::Action;
use ledgerline_kernel::input::{Fields, Patch};

use super::command::{AttributesPatch, SpecificationPatch};
use super::{Attributes, Command, Details, Specification};

pub(super) fn parse(action: Action<'_>, fields: &mut Fields<'_>) -> Option<Command> {
    match action {
        Action::Create => details(fields).map(Command::Create),
        Action::Replace => details(fields).map(Command::Replace),
        Action::Update => Some(Command::Update {
            code: fields.patch_required("code"),
            name: fields.patch_required("name"),
            attributes: match fields.object("attributes", attributes_patch) {
                Patch::Keep => AttributesPatch::default(),
                Patch::Set(patch) => patch,
                Patch::Remove => AttributesPatch {
                    category: Patch::Remove,
                    price: Patch::Remove,
                    description: Patch::Remove,
                    specification: Patch::Remove,
                },
            },
        }),
        Action::Delete => Some(Command::Delete),
        Action::Restore => Some(Command::Restore),
        Action::Named("change-price") => fields.required("price").map(Command::ChangePrice),
        Action::Named("merge-into") => fields.required("target").map(Command::MergeInto),
        Action::Named(_) => None,
    }
}

fn details(fields: &mut Fields<'_>) -> Option<Details> {
    let code = fields.required("code");
    let name = fields.required("name");
    let attributes = match fields.object("attributes", attributes) {
        Patch::Set(attributes) => attributes,
        Patch::Keep | Patch::Remove => Attributes::default(),
    };
    Some(Details { code: code?, name: name?, attributes })
}

fn attributes(fields: &mut Fields<'_>) -> Attributes {
    Attributes {
        category: fields.optional("category"),
        price: fields.optional("price"),
        description: fields.optional("description"),
        specification: match fields.object("specification", specification) {
            Patch::Set(specification) => Some(specification),
            Patch::Keep | Patch::Remove => None,
        },
    }
}

fn specification(fields: &mut Fields<'_>) -> Specification {
    Specification { weight: fields.optional("weight"), dimensions: fields.optional("dimensions") }
}

fn attributes_patch(fields: &mut Fields<'_>) -> AttributesPatch {
    AttributesPatch {
        category: fields.patch("category"),
        price: fields.patch("price"),
        description: fields.patch("description"),
        specification: fields.object("specification", |fields| SpecificationPatch {
            weight: fields.patch("weight"),
            dimensions: fields.patch("dimensions"),
        }),
    }
}
