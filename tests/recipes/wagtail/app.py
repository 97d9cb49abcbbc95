"""Wagtail's admin, with a snippet that can be previewed."""

from django.core.wsgi import get_wsgi_application

from tests.recipes.django_base import prepare, project

WITHOUT_MIGRATIONS = (
    "taggit", "wagtailadmin", "wagtailcore", "wagtaildocs", "wagtailimages", "wagtailsearch",
    "wagtailusers",
)

project(
    "urls",
    apps=[
        "notes", "wagtail.snippets", "wagtail.documents", "wagtail.images", "wagtail.users",
        "wagtail.admin", "wagtail.search", "wagtail", "taggit", "modelcluster",
    ],
    middleware=[],
    MIGRATION_MODULES=dict.fromkeys(WITHOUT_MIGRATIONS),  # which take a minute
    WAGTAIL_SITE_NAME="recipe",
    WAGTAILADMIN_BASE_URL="http://127.0.0.1",
)
app = get_wsgi_application()

if __name__ == "__main__":
    prepare()
